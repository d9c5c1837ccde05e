package jinja

import (
	"errors"
	"fmt"
	"slices"
)

func parse(tokens []token) (body []stmt, err error) {
	p := &parser{tokens: tokens}
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bail)
			if !ok {
				panic(r)
			}
			err = b.err
		}
	}()
	body, _ = p.body("")
	return body, nil
}

// body reads statements up to one of the tags called ends, whose name it
// returns with the tag open behind the name. Without ends it reads everything.
func (p *parser) body(tag string, ends ...string) (list []stmt, end string) {
	defer p.nest()()
	line := p.peek().line
	for {
		t := p.take()
		switch t.kind {
		case eof:
			if len(ends) > 0 {
				panic(bail{&Error{line, fmt.Errorf("{%% %s %%} without {%% %s %%}", tag, ends[len(ends)-1])}})
			}
			return list, ""
		case text:
			list = append(list, textStmt(t.val))
		case varBegin:
			list = append(list, &output{t.line, p.exprOrTuple(true)})
			p.expect(varEnd, "}}")
		case blockBegin:
			if n := p.peek(); n.kind == name && slices.Contains(ends, n.val) {
				p.take()
				return list, n.val
			}
			list = append(list, p.statement())
		}
	}
}

func (p *parser) endTag() { p.expect(blockEnd, "%}") }

// block is body up to a single end tag, which it closes.
func (p *parser) block(tag string) []stmt {
	p.endTag()
	list, _ := p.body(tag, "end"+tag)
	p.endTag()
	return list
}

func (p *parser) statement() stmt {
	line := p.peek().line
	switch tag := p.expectName(); tag {
	case "for":
		return p.forStmt(line)
	case "if":
		return p.ifStmt(line)
	case "set":
		return p.setStmt(line)
	case "macro":
		return p.macro(line)
	case "generation":
		return &group{p.block(tag)}
	case "break", "continue":
		if p.loops == 0 {
			p.pos--
			p.fail("{%% %s %%} outside of a loop", tag)
		}
		p.endTag()
		if tag == "break" {
			return &jump{errBreak}
		}
		return &jump{errContinue}
	default:
		p.pos--
		p.fail("{%% %s %%} is not supported in chat templates, or has no beginning", tag)
		return nil
	}
}

func (p *parser) forStmt(line int) stmt {
	f := &forStmt{line: line}
	for {
		f.targets = append(f.targets, p.expectName())
		if !p.accept(op, ",") {
			break
		}
	}
	p.expect(name, "in")
	f.list = p.exprOrTuple(false)
	if p.accept(name, "if") {
		f.cond = p.expr()
	}
	if p.is(name, "recursive") {
		p.fail("{%% for … recursive %%} is not supported in chat templates")
	}
	p.endTag()
	p.loops++
	body, end := p.body("for", "else", "endfor")
	p.loops--
	f.body = body
	if end == "else" {
		p.endTag()
		f.empty, _ = p.body("for", "endfor")
	}
	p.endTag()
	return f
}

func (p *parser) ifStmt(line int) stmt {
	s := &ifStmt{line: line}
	for {
		s.conds = append(s.conds, p.exprOrTuple(true))
		p.endTag()
		body, end := p.body("if", "elif", "else", "endif")
		s.bodies = append(s.bodies, body)
		switch end {
		case "elif":
			continue
		case "else":
			p.endTag()
			s.otherwise, _ = p.body("if", "endif")
		}
		p.endTag()
		return s
	}
}

func (p *parser) setStmt(line int) stmt {
	s := &setStmt{line: line}
	s.targets = []string{p.expectName()}
	switch {
	case p.accept(op, "."):
		s.attr = p.expectName()
	default:
		for p.accept(op, ",") {
			s.targets = append(s.targets, p.expectName())
		}
	}
	if p.accept(op, "=") {
		s.value = p.exprOrTuple(true)
		p.endTag()
		return s
	}
	if len(s.targets) > 1 {
		p.fail("expected '=', found %v", p.peek())
	}
	if p.is(op, "|") {
		// The block's text runs through filters; it takes the place of this node.
		s.text = &captured{}
		s.value = p.filters(s.text)
	}
	s.body = p.block("set")
	return s
}

func (p *parser) macro(line int) stmt {
	m := &macroStmt{line: line, name: p.expectName()}
	p.expect(op, "(")
	for n := 0; !p.accept(op, ")"); n++ {
		if n > 0 {
			p.expect(op, ",")
			if p.accept(op, ")") {
				break
			}
		}
		param := p.expectName()
		if slices.Contains(m.params, param) {
			p.fail("the parameter '%s' occurs twice", param)
		}
		m.params = append(m.params, param)
		var def expr
		if p.accept(op, "=") {
			def = p.expr()
		} else if len(m.defaults) > 0 && m.defaults[len(m.defaults)-1] != nil {
			p.fail("a parameter without default after one with a default")
		}
		m.defaults = append(m.defaults, def)
	}
	outer := p.loops
	p.loops = 0
	m.body = p.block("macro")
	p.loops = outer
	return m
}

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)
