package graph

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Parse reads the textual form. Ops are looked up in ops; sources (inputs,
// params, states, constants) need not be in it. Types are inferred again and
// must agree with the written ones. The error names the line.
func Parse(r io.Reader, ops OpSet) (*Graph, error) {
	p := &parser{ops: ops, vals: map[string]Value{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	num := 0
	for lines.Scan() {
		num++
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", num, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", num+1, err)
	}
	switch {
	case p.b == nil:
		return nil, fmt.Errorf("line %d: no graph", num)
	case !p.done:
		return nil, fmt.Errorf("line %d: no return", num)
	}
	return p.b.Finish(p.outs...)
}

type parser struct {
	ops  OpSet
	b    *Builder
	vals map[string]Value
	outs []Value
	done bool
}

func (p *parser) line(text string) error {
	code, _ := cutComment(text)
	code = strings.TrimSpace(code)
	switch {
	case code == "":
		return nil
	case p.done:
		return fmt.Errorf("unexpected %q after return", code)
	case p.b == nil:
		return p.header(code)
	case code == "return" || strings.HasPrefix(code, "return "):
		p.done = true
		sc := &scanner{s: strings.TrimPrefix(code, "return")}
		if sc.rest() == "" {
			return nil
		}
		names, err := sc.valueNames()
		if err != nil {
			return err
		}
		if r := sc.rest(); r != "" {
			return fmt.Errorf("unexpected %q", r)
		}
		p.outs, err = p.lookup(names)
		return err
	case strings.HasPrefix(code, "scope "):
		s, err := strconv.Unquote(strings.TrimSpace(code[len("scope "):]))
		if err != nil {
			return fmt.Errorf("bad scope %q", code)
		}
		p.b.scope = s
		return nil
	}
	st, err := parseStmt(strings.TrimSpace(text), p.ops)
	if err != nil {
		return err
	}
	return p.stmt(st)
}

func (p *parser) header(code string) error {
	sc := &scanner{s: code}
	if err := sc.expect("graph"); err != nil {
		return err
	}
	if err := sc.expect("@"); err != nil {
		return err
	}
	name := sc.until("(")
	if name != "" && !isValueName(name) {
		return fmt.Errorf("bad graph name %q", name)
	}
	p.b = NewBuilder(name)
	p.b.pos = []Pos{}
	if err := sc.expect("("); err != nil {
		return err
	}
	// Symbols come last on the line but are needed first.
	if head, where, ok := strings.Cut(code, " where "); ok {
		if err := p.symbols(where); err != nil {
			return err
		}
		sc.s = head
	}
	if !sc.eat(")") {
		for {
			names, err := sc.valueNames()
			if err != nil {
				return err
			}
			if err := sc.expect(":"); err != nil {
				return err
			}
			// One type, for a group of names that share it.
			t, err := sc.typ()
			if err != nil {
				return err
			}
			for _, n := range names {
				p.vals[n] = p.b.source(InputOp, n, t)
			}
			if sc.eat(")") {
				break
			}
			if err := sc.expect(","); err != nil {
				return err
			}
		}
	}
	if r := sc.rest(); r != "" {
		return fmt.Errorf("unexpected %q", r)
	}
	return p.b.Err()
}

func (p *parser) symbols(text string) error {
	for _, f := range strings.Split(text, ",") {
		var name string
		var lo, hi int
		parts := strings.Fields(f)
		if len(parts) == 3 && parts[1] == "in" {
			from, to, _ := strings.Cut(parts[2], "..")
			var err1, err2 error
			lo, err1 = strconv.Atoi(from)
			hi, err2 = strconv.Atoi(to)
			if err1 == nil && err2 == nil {
				name = parts[0]
			}
		}
		if name == "" {
			return fmt.Errorf("bad symbol %q: want NAME in MIN..MAX", strings.TrimSpace(f))
		}
		p.b.Sym(name, lo, hi)
	}
	return p.b.Err()
}

func (p *parser) lookup(names []string) ([]Value, error) {
	vs := make([]Value, len(names))
	for i, n := range names {
		v, ok := p.vals[n]
		if !ok {
			return nil, fmt.Errorf("%%%s is not defined", n)
		}
		vs[i] = v
	}
	return vs, nil
}

func (p *parser) stmt(st *Stmt) error {
	in, err := p.lookup(st.In)
	if err != nil {
		return err
	}
	p.b.pos = st.Pos
	if p.b.pos == nil {
		p.b.pos = []Pos{}
	}
	var outs []Value
	switch st.Op {
	case ConstOp.OpDef:
		outs = []Value{p.b.Const(st.Const)}
	case ParamOp.OpDef, StateOp.OpDef:
		if len(st.Types) != 1 {
			return fmt.Errorf("%s %q needs one type", st.Op.Name, st.Name)
		}
		outs = []Value{p.b.source(Op[NameAttrs]{st.Op}, st.Name, st.Types[0])}
	default:
		attrs, err := st.Op.parseAttrs(st.Attrs)
		if err != nil {
			return err
		}
		outs = p.b.Emit(st.Op, attrs, in...)
	}
	if err := p.b.Err(); err != nil {
		return err
	}
	if len(outs) != len(st.Out) {
		return fmt.Errorf("%s gives %d results, %d are named", st.Op.Name, len(outs), len(st.Out))
	}
	if st.Types != nil && len(st.Types) != len(outs) {
		return fmt.Errorf("%s gives %d results, %d types are written", st.Op.Name, len(outs), len(st.Types))
	}
	for i, v := range outs {
		if st.Types != nil {
			if got := v.Type(); !got.Equal(st.Types[i]) {
				if st.Types[i].Layout == "" || got.Elem != st.Types[i].Elem || !got.Shape.Equal(st.Types[i].Shape) {
					return fmt.Errorf("%%%s is %s, written as %s", st.Out[i], got, st.Types[i])
				}
				// Layouts are chosen by lowering, no type rule infers them.
				v.node.Out[v.res].Layout = st.Types[i].Layout
			}
		}
		if _, dup := p.vals[st.Out[i]]; dup {
			return fmt.Errorf("%%%s is defined twice", st.Out[i])
		}
		p.b.Name(v, st.Out[i])
		p.vals[st.Out[i]] = v
	}
	return nil
}
