package jinja

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A template that asks for too much is refused, within the memory and stack of
// a test run.
func TestLimits(t *testing.T) {
	for name, source := range map[string]string{
		"loop":            `{% for i in range(10**18) %}{% endfor %}`,
		"nested loops":    `{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}`,
		"output":          `{% for i in range(9999) %}{{ 'x' * 99999 }}{% endfor %}`,
		"repeat":          `{{ 'x' * 10**15 }}`,
		"repeat overflow": `{{ 'xxxxxxxx' * 2**62 }}`,
		"repeat list":     `{{ [1] * 10**15 }}`,
		"double":          `{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
		"double list":     `{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
		"double tree":     `{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}`,
		"equal trees":     `{% set a = namespace(s='x') %}{% set b = namespace(s='x') %}{% for i in range(99) %}{% set a.s = [a.s, a.s] %}{% set b.s = [b.s, b.s] %}{% endfor %}{{ a.s == b.s }}`,
		"json tree":       `{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}`,
		"deep tree":       `{% set ns = namespace(s='x') %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}`,
		"quotes":          `{% set ns = namespace(s="\\'") %}{% for i in range(99) %}{% set ns.s = [ns.s] | string %}{% endfor %}`,
		"replace":         `{% set s = 'a' * 9999 %}{% set s = s | replace('a', s) %}{{ s | replace('a', s) }}`,
		"join":            `{% set s = 'a' * 9999 %}{% set s = s | join(s) %}{{ s | join(s) }}`,
		"indent":          `{% set s = '\n' * 99999 %}{{ s | indent(999, true, true) }}{{ s | indent(999, true, true) }}`,
		"wide json":       `{{ range(99999) | list | tojson(indent=1000) }}`,
		"recursion":       `{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
		"two recursions":  `{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}`,
		"argument":        `{% macro f(n, s) %}{% if n %}{{ f(n - 1, s ~ s) }}{% endif %}{% endmacro %}{{ f(60, 'x') }}`,
		"cyclic":          `{% set ns = namespace() %}{% set ns.a = [ns] %}{% for i in range(10**9) %}{{ ns }}{{ ns.a }}{% endfor %}`,
		"long search":     `{% set s = 'a' * 999999 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}`,
		"strip":           `{% set s = 'a' * 999999 %}{{ s.strip(s) }}`,
		"chain":           "{{ 1" + strings.Repeat("+1", 5000) + " }}",
		"dots":            "{{ a" + strings.Repeat("[0]", 50000) + " }}",
		"brackets":        "{{ " + strings.Repeat("(", 50000) + " }}",
		"nots":            "{{ " + strings.Repeat("not ", 50000) + " }}",
		"signs":           "{{ " + strings.Repeat("-", 50000) + "1 }}",
		"ifs":             strings.Repeat("{% if 1 %}", 20000),
		"elses":           "{{ 1 " + strings.Repeat("if 1 else 1 ", 20000) + " }}",
		"size":            strings.Repeat(" ", maxSource+1),
	} {
		t.Run(name, func(t *testing.T) {
			out, err := render(t, source, nil)
			if err == nil {
				t.Fatalf("no error, %d bytes", len(out))
			}
			var at *Error
			if !errors.As(err, &at) || at.Line != 1 {
				t.Errorf("no line in %v", err)
			}
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	tpl, err := Parse(`{% for i in range(99999) %}{% endfor %}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tpl.Render(ctx, nil, Limits{}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// Errors name the line and what is wrong.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"a\n{% include 'x' %}", "line 2: {% include %} is not supported"},
		{"{% extends 'x' %}", "line 1: {% extends %} is not supported"},
		{"{% import 'x' as y %}", "{% import %} is not supported"},
		{"\n\n{{ x | shout }}", "line 3: the filter 'shout' is not supported"},
		{"{{ x is shouty }}", "the test 'shouty' is not supported"},
		{"{{ 1 +\n }}", "line 2: expected an expression, found '}}'"},
		{"{% if x %}\n", "line 1: {% if %} without {% endif %}"},
		{"{% for x in y %}{% else %}", "{% for %} without {% endfor %}"},
		{"{% endif %}", "{% endif %} is not supported in chat templates, or has no beginning"},
		{"{{ 'abc }}", "a string without end"},
		{"{{ x", "a tag without end }}"},
		{"{# x", "a comment {# without end #}"},
		{"{% raw %}x", "{% raw %} without {% endraw %}"},
		{"{{ a b }}", "expected '}}', found 'b'"},
		{"{{ ] }}", "a closing bracket without an opening one"},
		{"{{ 1 ? 2 }}", "unexpected character '?'"},
		{"{% break %}", "{% break %} outside of a loop"},
		{"{% for x in y recursive %}{% endfor %}", "recursive %} is not supported"},
		{"\n{{ x.y.z }}", "line 2: 'x' is undefined"},
		{"{{ ''.format(1) }}", "'format' of text is undefined"},
		{"{{ messages.append(1) }}", "'append' of a list is undefined"},
		{"{{ 'a' + 1 }}", "text + a number"},
		{"{{ 1 // 0 }}", "a division by zero"},
		{"{{ 9223372036854775807 + 1 }}", "an integer of more than 64 bits"},
		{"{{ (-9223372036854775807 - 1) // -1 }}", "an integer of more than 64 bits"},
		{"{{ '\\ud800' }}", `the escape \ud800 is no character`},
		{"{% set x.y = 1 %}", "'x' is no namespace"},
		{"{% macro f(a) %}{% endmacro %}\n{{ f(1, 2) }}", "line 2: macro f takes 1 arguments, not 2"},
		{"{{ range(1, 2, 0) }}", "range with a step of 0"},
		{"{{ {[]: 1} }}", "a list cannot be a key"},
	} {
		_, err := render(t, c.source, map[string]any{"messages": NewList()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.source, err, c.want)
		}
	}
	_, err := render(t, "\n{{ raise_exception('no ' ~ 1) }}", nil)
	var raised *Raised
	if !errors.As(err, &raised) || raised.Message != "no 1" || err.Error() != "line 2: no 1" {
		t.Errorf("raise_exception: %v", err)
	}
}

// Macros see the variables of where they are written, and a rendering leaves
// nothing behind for the next.
func TestScopes(t *testing.T) {
	tpl, err := Parse(`{% set n = namespace(v=1) %}{% macro f() %}{{ n.v }}{{ x }}{% endmacro %}{% set x = 'X' %}{% set n.v = 2 %}{{ f() }}{{ y }}{% set y = 3 %}`)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := tpl.Render(t.Context(), nil, Limits{})
		if err != nil || got != "2X" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.Template)
	}
	f.Add(`{% set x %}{{ [1, 'a', none] | map('string') | join }}{% endset %}{{ x[::-1] ~ loop }}`)
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Parse(source)
		if err != nil {
			return
		}
		limits := Limits{Steps: 1 << 16, Bytes: 1 << 18}
		messages := [][2]string{{"system", "S"}, {"user", "a\nb"}}
		out, err := tpl.Render(t.Context(), vars(messages, true), limits)
		if err == nil && len(out) > limits.Bytes {
			t.Errorf("%d bytes", len(out))
		}
		again, err2 := tpl.Render(t.Context(), vars(messages, true), limits)
		if again != out || (err == nil) != (err2 == nil) {
			t.Errorf("two renderings: %q, %v and %q, %v", out, err, again, err2)
		}
	})
}
