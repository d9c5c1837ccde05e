"""Writes jinja2.json and random.json, the vectors of the tests: python3 generate.py

Needs jinja2 (written with 3.1.6). The environment is set up as transformers
does it for chat templates.
"""
import json, datetime, warnings
warnings.filterwarnings("ignore")
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2 import nodes
from jinja2.ext import Extension
import jinja2
class Gen(Extension):
    tags={'generation'}
    def parse(self,p):
        l=next(p.stream).lineno
        body=p.parse_statements(['name:endgeneration'],drop_needle=True)
        return nodes.CallBlock(self.call_method('_x'),[],[],body).set_lineno(l)
    def _x(self,caller): return caller()
def env():
    e=ImmutableSandboxedEnvironment(trim_blocks=True,lstrip_blocks=True,extensions=[Gen,'jinja2.ext.loopcontrols'])
    e.filters['tojson']=lambda x,ensure_ascii=False,indent=None,separators=None,sort_keys=False: json.dumps(x,ensure_ascii=ensure_ascii,indent=indent,separators=separators,sort_keys=sort_keys)
    def r(m): raise jinja2.exceptions.TemplateError(m)
    e.globals['raise_exception']=r
    e.globals['strftime_now']=lambda f: datetime.datetime(2026,7,4,9,8,7).strftime(f)
    return e
convs=[
 [["user","Hey, are you conscious?"]],
 [["system","  You are helpful.\n"],["user"," How are you? \n"]],
 [["system","S"],["user","1+1?"],["assistant","2"],["user","and 2+2?"]],
 [["user","a 'quoted' \"text\" <b>&amp;\n\ttab"],["assistant","<think>hmm\nhm</think>\n\nyes"],["user","\u00a0ünïcödé 你好 \x1c"]],
 [["system","X"],["user",""],["assistant"," "],["user","{{ 7*7 }} {% if %}"]],
]
T={}
T['bitnet']="{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
T['headers']="""{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
T['chatml']="""{% for message in messages %}
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\n' }}
{% endif %}
"""
T['inst']="""{%- if messages[0]['role'] == 'system' -%}
  {%- set system_message = messages[0]['content'] | trim + '\n\n' -%}
  {%- set messages = messages[1:] -%}
{%- else -%}
  {%- set system_message = '' -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in messages -%}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('roles must alternate') -}}
  {%- endif -%}
  {%- if message['role'] == 'user' -%}
    {{- '[INST] ' + (system_message if loop.first else '') + message['content'] | trim + ' [/INST]' -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- ' ' + message['content'] | trim + eos_token -}}
  {%- endif -%}
{%- endfor -%}
"""
T['headers31']="""{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message first, if there is one. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("only single tool-calls") }}
        {%- endif %}
        {{- message.tool_calls[0].function | tojson }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
T['thinking']="""{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
T['generation']="""{% for m in messages %}
{% if m.role == 'assistant' %}
{% generation %}
A[{{ m.content }}]{{ eos_token }}
{% endgeneration %}
{% else %}
{{ m.role | upper }}[{{ m.content }}]
{% endif %}
{% endfor %}"""
T['macro']="""{% macro turn(name, body, end='<|end|>') -%}
<|{{ name }}|>
{{ body }}{{ end }}
{% endmacro %}
{% for m in messages %}{{ turn(m.role, m.content) }}{% if loop.last %}{{ turn('x', loop.length, end='') }}{% endif %}{% endfor %}"""
T['set_block']="""{% set head %}
  [{{ messages | length }}]
{% endset %}
{{ head | trim }}{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.revindex }}{{ m['content'] | replace('\n', ' ') }};{% else %}none{% endfor %}"""
T['controls']="""{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }},{% endfor %}
{% for m in messages %}{% for k, v in m.items() %}{{ k }}={{ v | tojson }} {% endfor %}{% endfor %}"""
T['json']="""{% for m in messages %}{{ m | tojson }}
{{ m | tojson(indent=2) }}
{{ [1, 2.5, true, none, 'x', {'b': 1, 'a': []}] | tojson }}{% endfor %}"""
T['filters']="""{{ messages | map(attribute='role') | join(', ') }}|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|{{ (messages | last).content | upper | lower | title }}|{{ undefined_thing | default('dflt') }}|{{ '' | default('e', true) }}|{{ messages[-1]['content'] | indent(4) }}|{{ 'a,b,,c'.split(',') | join('-') }}|{{ [3,1,2] | sort | join }}|{{ 'abc'[::-1] }}|{{ 7 // 2 }}|{{ 7 % 4 }}|{{ 'x' ~ 1 ~ none }}"""
T['ternary']="""{{ 'has system' if messages and messages[0].role == 'system' else 'no system' }} {{ bos_token if bos_token is defined }}{{ nothing }}{{ (messages | first)['role'] in ['user', 'system'] }} {{ not true }} {{ 1 if false }}"""
T['spaces']="""   {% if true %}
  one
   {% endif %}
 two {%- if true %} three {% endif -%}  four
{# comment #}
  {# indented comment #}
five {{- ' six ' -}} seven
{% if true -%}
   eight
{%- endif %}

{% raw %}{{ raw }}{% endraw %}

end
"""
T['scope']="""{% set x = 'out' %}{% for m in messages %}{% set x = m.role %}{% if true %}{% set x = x ~ '!' %}{% endif %}{{ x }} {% endfor %}{{ x }}{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + (m.content | length) %}{% endfor %} {{ ns.n }}"""
T['loopvars']="""{% for m in messages %}{{ loop.index }} {{ loop.first }} {{ loop.last }} {{ loop.previtem.role if loop.previtem is defined and not loop.first }} {{ loop.nextitem.role if not loop.last }} {{ messages[loop.index0 - 1].role }}
{% endfor %}"""
T['escapes']="{{ 'a\\nb\\t\\'q\\' \\\\ \\u00e9' }}{{ \"d'q\" }}"
T['nonegen']="{%- for m in messages %}{%- if m.content is none %}x{%- elif m.content is not string %}y{%- else %}{{- m.content.strip() }}{{ '\\n' }}{%- endif %}{%- endfor %}{{ messages | length > 2 and messages[1].role or 'short' }}"
out=[]
for name,src in T.items():
    cs=[]
    for c in convs:
        for gen in (False,True):
            try:
                r=env().from_string(src).render(messages=[{'role':a,'content':b} for a,b in c],add_generation_prompt=gen,bos_token='<s>',eos_token='</s>')
                cs.append(dict(messages=c,generation=gen,text=r))
            except jinja2.exceptions.TemplateError as e:
                cs.append(dict(messages=c,generation=gen,text=None,error=str(e)))
    out.append(dict(name=name,template=src,cases=cs))
json.dump(out, open('jinja2.json', 'w'), ensure_ascii=False, indent=0)


# Random expressions and random layouts, from a fixed seed.
import random
rnd = random.Random(158)
ATOMS = ["1", "0", "-3", "2.5", "7", "true", "false", "none", "''", "'abc'", "'A b\\nC'", "' x '", "'é你😀'", "[]", "[3,1,2]", "['b','A','c']",
         "[[1,2],[0]]", "{}", "{'a':1,'b':[2]}", "(1,'x')", "messages", "messages[0]", "messages[-1]['content']", "nothing", "bos_token",
         "messages[0].role", "'1'", "'12.5'", "10", "'a,b,,c'", "'  a  b c '", "1e20", "0.1"]
BIN = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]
FIL = ["upper", "lower", "capitalize", "title", "trim", "length", "list", "first", "last", "string", "join(', ')", "join", "default('d')", "default('d', true)",
       "int", "float", "abs", "sort", "sort(reverse=true)", "unique | list", "reverse | list", "map('upper') | list", "select | list", "reject('none') | list",
       "tojson", "tojson(indent=2)", "replace('a', 'ZZ')", "replace('b','',1)", "indent(2)", "indent(2, true)", "round", "round(1)", "sum", "min", "max", "items | list", "dictsort",
       "map(attribute='role') | list", "selectattr('role', 'equalto', 'user') | list | length", "trim('a ')", "count"]
TST = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable", "true", "false", "even", "odd",
       "divisibleby(3)", "eq(1)", "in([1,'abc'])", "lower", "upper", "sameas(true)", "gt(1)", "callable"]
MET = [".upper()", ".strip()", ".split(',')", ".split()", ".rsplit(None, 1)", ".split(',', 1)", ".startswith('a')", ".endswith(('c', 'C'))", ".replace('a', 'b')", ".title()",
       ".get('a')", ".get('zz', 5)", ".items() | list", ".keys() | list", ".values() | list", ".find('b')", ".count('b')", ".lstrip('a ')", ".splitlines()", ".capitalize()", ".join(['x','y'])",
       ".isdigit()", ".islower()", ".removeprefix('a')", "[0]", "[-1]", "[1:]", "[:-1]", "[::-1]", "[::2]", "['a']", ".a", "['role']", "[-5:2]", "[5]"]
def expr(d):
    k = rnd.random()
    if d == 0 or k < .15: return rnd.choice(ATOMS)
    if k < .45: return f"{sub(d)} {rnd.choice(BIN)} {sub(d)}"
    if k < .62: return f"{sub(d)} | {rnd.choice(FIL)}"
    if k < .72: return f"{sub(d)} is {rnd.choice(['', 'not '])}{rnd.choice(TST)}"
    if k < .87: return f"{post(d)}{rnd.choice(MET)}"
    if k < .92: return f"not {sub(d)}"
    if k < .96: return f"{sub(d)} if {sub(d)} else {sub(d)}"
    return f"[{sub(d)}, {sub(d)}]"
def sub(d):
    e = expr(d - 1)
    return f"({e})" if rnd.random() < .6 else e
def post(d):
    e = expr(d - 1)
    return e if e in ATOMS and not e.startswith('-') else f"({e})"
BITS = [" ", "  ", "\n", "\n", "\n\n", "\t", "a", "b ", " c", "\u00a0", "{", "}", "%", "'", "\r\n"]
def layout(d=0):
    out = []
    for _ in range(rnd.randint(1, 5)):
        k = rnd.random()
        s = lambda: rnd.choice(["", "", "", "-", "+"])
        v = lambda: rnd.choice(["", "", "-"])
        if k < .55: out.append(rnd.choice(BITS))
        elif k < .68: out.append("{{%s %s %s}}" % (v(), rnd.choice(["1", "'x'", "' y\\n'", "x", "{'a': {}}['a']"]), v()))
        elif k < .76: out.append("{#%s c %s#}" % (s(), s()))
        elif k < .82: out.append("{%%%s set x = %d %s%%}" % (s(), rnd.randint(0, 9), s()))
        elif k < .86: out.append("{%%%s raw %s%%}%s{%%%s endraw %s%%}" % (s(), v(), rnd.choice([" {{ x }} ", "\n{% if %}\n", " \n "]), s(), s()))
        elif d < 2 and k < .93: out.append("{%%%s for i in [1, 2] %s%%}%s{%%%s endfor %s%%}" % (s(), s(), layout(d + 1), s(), s()))
        elif d < 2: out.append("{%%%s if %s %s%%}%s{%%%s else %s%%}%s{%%%s endif %s%%}" % (s(), rnd.choice(["x", "not x"]), s(), layout(d + 1), s(), s(), layout(d + 1), s(), s()))
    return "".join(out)
def run(t):
    try:
        return env().from_string(t).render(messages=[{'role': a, 'content': b} for a, b in convs[2]], add_generation_prompt=True, bos_token='<s>', eos_token='</s>')
    except Exception as e:
        return None
rows = []
for i in range(3500):
    t = "{{ " + expr(rnd.randint(1, 3)) + " }}"
    r = run(t)
    if r is None and rnd.random() < .8 or r and ('generator' in r or 'built-in' in r or 'object at' in r or 'dict_' in r or 'method' in r or 'Undefined' in r): continue
    rows.append([t, r])
for i in range(1500):
    t = layout()
    rows.append([t, run(t)])
json.dump(rows, open('random.json', 'w'), ensure_ascii=False, indent=0)
