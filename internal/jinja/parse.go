package jinja

import (
	"fmt"
	"strconv"
)

// parser reads tokens by recursive descent, in the order of precedence that
// Jinja2 has.
type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int // open {% for %} of the current macro
}

// bail carries an error out of the descent; parse recovers it.
type bail struct{ err error }

func (p *parser) fail(format string, args ...any) {
	panic(bail{&Error{p.peek().line, fmt.Errorf(format, args...)}})
}

func (p *parser) peek() token { return p.tokens[p.pos] }

// take returns the current token and moves on, but never beyond the end.
func (p *parser) take() token {
	t := p.tokens[p.pos]
	if t.kind != eof {
		p.pos++
	}
	return t
}

func (p *parser) is(k kind, val string) bool {
	t := p.peek()
	return t.kind == k && t.val == val
}

func (p *parser) accept(k kind, val string) bool {
	if p.is(k, val) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(k kind, val string) {
	if !p.accept(k, val) {
		p.fail("expected '%s', found %v", val, p.peek())
	}
}

func (p *parser) expectName() string {
	if p.peek().kind != name {
		p.fail("expected a name, found %v", p.peek())
	}
	return p.take().val
}

// nest is called by what recurses: defer p.nest()().
func (p *parser) nest() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail("more than %d nested brackets, tags or operators", maxNesting)
	}
	return func() { p.depth-- }
}

// expr reads a conditional expression.
func (p *parser) expr() expr {
	defer p.nest()()
	e := p.or()
	for p.is(name, "if") {
		line := p.take().line
		c := &conditional{line: line, yes: e, cond: p.or()}
		if p.accept(name, "else") {
			c.no = p.expr()
		}
		e = c
	}
	return e
}

// exprOrTuple reads "a" or "a, b", with conditions if cond is set.
func (p *parser) exprOrTuple(cond bool) expr {
	one := p.or
	if cond {
		one = p.expr
	}
	line := p.peek().line
	first := one()
	if !p.is(op, ",") {
		return first
	}
	items := []expr{first}
	for p.accept(op, ",") {
		if t := p.peek(); t.kind == varEnd || t.kind == blockEnd || t.kind == op && t.val == ")" {
			break
		}
		items = append(items, one())
	}
	return &listLit{line, items, true}
}

func (p *parser) or() expr {
	e := p.and()
	for p.is(name, "or") {
		line := p.take().line
		e = &logic{line, e, p.and(), true}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.is(name, "and") {
		line := p.take().line
		e = &logic{line, e, p.not(), false}
	}
	return e
}

func (p *parser) not() expr {
	if p.is(name, "not") {
		defer p.nest()()
		line := p.take().line
		return &not{line, p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	first := p.sum()
	c := &comparison{line: p.peek().line, first: first}
	for {
		t := p.peek()
		o := ""
		switch {
		case t.kind == op:
			switch t.val {
			case "==", "!=", "<", "<=", ">", ">=":
				o = t.val
				p.take()
			}
		case t.kind == name && t.val == "in":
			o = "in"
			p.take()
		case t.kind == name && t.val == "not" && p.tokens[p.pos+1].kind == name && p.tokens[p.pos+1].val == "in":
			o = "not in"
			p.pos += 2
		}
		if o == "" {
			if len(c.rest) == 0 {
				return first
			}
			return c
		}
		c.rest = append(c.rest, operand{o, p.sum()})
	}
}

// chain reads operands joined by left-associative operators.
func (p *parser) chain(next func() expr, ops ...string) expr {
	e := next()
	for {
		t := p.peek()
		found := false
		for _, o := range ops {
			found = found || t.kind == op && t.val == o
		}
		if !found {
			return e
		}
		p.take()
		e = &binary{t.line, t.val, e, next()}
	}
}

func (p *parser) sum() expr     { return p.chain(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.chain(p.product, "~") }
func (p *parser) product() expr { return p.chain(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr {
	return p.chain(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	t := p.peek()
	var e expr
	if t.kind == op && (t.val == "-" || t.val == "+") {
		defer p.nest()()
		p.take()
		e = &sign{t.line, t.val == "-", p.unary(false)}
	} else {
		e = p.postfix(p.primary())
	}
	if filters {
		e = p.filters(e)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.peek()
	switch t.kind {
	case name:
		p.take()
		switch t.val {
		case "true", "True":
			return &literal{true}
		case "false", "False":
			return &literal{false}
		case "none", "None":
			return &literal{nil}
		}
		return &variable{t.line, t.val}
	case str:
		s := ""
		for p.peek().kind == str {
			s += p.take().val
		}
		return &literal{s}
	case integer:
		p.take()
		n, err := strconv.Atoi(t.val)
		if err != nil {
			p.fail("the number %s has more than 64 bits", t.val)
		}
		return &literal{n}
	case float:
		p.take()
		f, err := strconv.ParseFloat(t.val, 64)
		if err != nil {
			p.fail("%v", err)
		}
		return &literal{f}
	case op:
		switch t.val {
		case "(":
			defer p.nest()()
			p.take()
			if p.accept(op, ")") {
				return &listLit{t.line, nil, true}
			}
			e := p.exprOrTuple(true)
			p.expect(op, ")")
			return e
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	p.fail("expected an expression, found %v", t)
	return nil
}

func (p *parser) list() expr {
	defer p.nest()()
	l := &listLit{line: p.take().line}
	for !p.accept(op, "]") {
		if len(l.items) > 0 {
			p.expect(op, ",")
			if p.accept(op, "]") {
				break
			}
		}
		l.items = append(l.items, p.expr())
	}
	return l
}

func (p *parser) dict() expr {
	defer p.nest()()
	d := &dictLit{line: p.take().line}
	for !p.accept(op, "}") {
		if len(d.keys) > 0 {
			p.expect(op, ",")
			if p.accept(op, "}") {
				break
			}
		}
		d.keys = append(d.keys, p.expr())
		p.expect(op, ":")
		d.values = append(d.values, p.expr())
	}
	return d
}

// postfix reads .name, [index] and (arguments).
func (p *parser) postfix(e expr) expr {
	for {
		t := p.peek()
		switch {
		case p.accept(op, "."):
			switch a := p.take(); a.kind {
			case name:
				e = &attribute{t.line, e, a.val}
			case integer:
				n, _ := strconv.Atoi(a.val)
				e = &index{t.line, e, &literal{n}}
			default:
				p.pos--
				p.fail("expected a name after '.'")
			}
		case p.accept(op, "["):
			e = p.subscript(t.line, e)
		case p.is(op, "("):
			e = &call{t.line, e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) subscript(line int, e expr) expr {
	defer p.nest()()
	var parts [3]expr
	colons := 0
	for !p.accept(op, "]") {
		switch {
		case p.accept(op, ":"):
			if colons++; colons > 2 {
				p.fail("a slice has at most three parts")
			}
		case parts[colons] == nil:
			parts[colons] = p.expr()
		default:
			p.fail("expected ']', found %v", p.peek())
		}
	}
	if colons > 0 {
		return &slice{line, e, parts}
	}
	if parts[0] == nil {
		p.fail("expected an index")
	}
	return &index{line, e, parts[0]}
}

// args reads (a, b, name=c).
func (p *parser) args() args {
	defer p.nest()()
	p.expect(op, "(")
	var a args
	for n := 0; !p.accept(op, ")"); n++ {
		if n > 0 {
			p.expect(op, ",")
			if p.accept(op, ")") {
				break
			}
		}
		if next := p.tokens[min(p.pos+1, len(p.tokens)-1)]; p.peek().kind == name && next.kind == op && next.val == "=" {
			a.names = append(a.names, p.take().val)
			p.take()
			a.named = append(a.named, p.expr())
			continue
		}
		if len(a.names) > 0 {
			p.fail("an argument without a name after one with a name")
		}
		if p.is(op, "*") || p.is(op, "**") {
			p.fail("arguments by * are not supported in chat templates")
		}
		a.list = append(a.list, p.expr())
	}
	return a
}

// filters reads | filter, is test, and calls of their results.
func (p *parser) filters(e expr) expr {
	for {
		t := p.peek()
		switch {
		case p.accept(op, "|"):
			e = p.filter(t.line, e)
		case p.accept(name, "is"):
			e = p.test(t.line, e)
		case p.is(op, "("):
			e = &call{t.line, e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) filter(line int, e expr) expr {
	f := &filterExpr{line: line, in: e, name: p.expectName()}
	if filters[f.name] == nil {
		p.pos--
		p.fail("the filter '%s' is not supported in chat templates", f.name)
	}
	if p.is(op, "(") {
		f.args = p.args()
	}
	return f
}

func (p *parser) test(line int, e expr) expr {
	negated := p.accept(name, "not")
	t := &testExpr{line: line, in: e, negated: negated}
	if p.peek().kind != name {
		p.fail("expected the name of a test, found %v", p.peek())
	}
	t.name = p.take().val
	if tests[t.name] == nil {
		p.pos--
		p.fail("the test '%s' is not supported in chat templates", t.name)
	}
	// Jinja takes any other name for an argument, "if" for example.
	switch next := p.peek(); {
	case p.is(op, "("):
		t.args = p.args()
	case p.is(name, "is"):
		p.fail("two tests in a row; use 'and'")
	case next.kind == str, next.kind == integer, next.kind == float,
		next.kind == op && (next.val == "[" || next.val == "{"),
		next.kind == name && next.val != "else" && next.val != "or" && next.val != "and":
		t.args.list = []expr{p.postfix(p.primary())}
	}
	return t
}
