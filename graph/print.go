package graph

import (
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// String prints the graph in its textual form, which [Parse] reads back.
func (g *Graph) String() string {
	var b strings.Builder
	g.print(&b)
	return b.String()
}

// WriteTo prints the graph to w.
func (g *Graph) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, g.String())
	return int64(n), err
}

// valueNames gives every value a unique printed name (without the %): its hint
// where possible, otherwise a number.
func (g *Graph) valueNames() map[Value]string {
	names := map[Value]string{}
	taken := map[string]bool{}
	claim := func(v Value, hint string) {
		name := hint
		for i := 2; taken[name]; i++ {
			name = hint + "_" + strconv.Itoa(i)
		}
		taken[name] = true
		names[v] = name
	}
	for _, n := range g.Inputs() {
		claim(n.Result(0), SourceName(n))
	}
	next := 0
	for _, n := range g.Nodes {
		if n.Op == InputOp.OpDef {
			continue
		}
		for i := range n.Out {
			v := n.Result(i)
			if h := v.Hint(); isWord(h) {
				claim(v, h)
				continue
			}
			for taken[strconv.Itoa(next)] { // an input may be called 0
				next++
			}
			names[v] = strconv.Itoa(next)
			next++
		}
	}
	return names
}

// Names returns the printed name of every value, with its %.
func (g *Graph) Names() map[Value]string {
	names := g.valueNames()
	for v, s := range names {
		names[v] = "%" + s
	}
	return names
}

func (g *Graph) print(b *strings.Builder) {
	names := g.Names()
	fmt.Fprintf(b, "graph @%s(", g.Name)
	for i, n := range g.Inputs() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "%s: %s", names[n.Result(0)], n.Out[0])
	}
	b.WriteByte(')')
	for i, s := range g.Syms {
		sep := ", "
		if i == 0 {
			sep = "  where "
		}
		fmt.Fprintf(b, "%s%s in %d..%d", sep, s.Name, s.Min, s.Max)
	}
	b.WriteByte('\n')
	prep := g.Prep()
	scope := ""
	var block []line
	for _, n := range g.Nodes {
		if n.Op == InputOp.OpDef {
			continue
		}
		if n.Scope != scope {
			flush(b, block)
			block = block[:0]
			scope = n.Scope
			fmt.Fprintf(b, "  scope %q\n", scope)
		}
		block = append(block, formatNode(n, names, prep[n]))
	}
	flush(b, block)
	b.WriteString("  return")
	for i, v := range g.Outs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + names[v])
	}
	b.WriteByte('\n')
}

// line is one statement in the columns that flush aligns.
type line struct{ lhs, rhs, types, tail string }

func formatNode(n *Node, names map[Value]string, prep bool) line {
	var l line
	var lhs, types []string
	for i, t := range n.Out {
		lhs = append(lhs, names[n.Result(i)])
		types = append(types, t.String())
	}
	l.lhs = strings.Join(lhs, ", ")
	l.types = strings.Join(types, ", ")
	switch {
	case n.Op == ConstOp.OpDef:
		l.rhs = "const " + formatConst(n)
	case IsSource(n.Op):
		l.rhs = n.Op.Name + " " + strconv.Quote(SourceName(n))
	default:
		args := make([]string, len(n.In))
		for i, v := range n.In {
			args[i] = names[v]
		}
		l.rhs = n.Op.Name + "(" + strings.Join(args, ", ") + ")" + formatAttrs(attrList(n.Attrs))
	}
	if prep && !IsSource(n.Op) {
		l.tail += " @prep"
	}
	if n.Op.Exact {
		l.tail += " exact"
	}
	if p := formatPos(n.Pos); p != "" {
		l.tail += "  // " + p
	}
	return l
}

func formatAttrs(list []Attr) string {
	if len(list) == 0 {
		return ""
	}
	s := make([]string, len(list))
	for i, a := range list {
		s[i] = a.Name + "=" + a.Value
	}
	return " {" + strings.Join(s, ", ") + "}"
}

func formatConst(n *Node) string {
	t, ok := ConstTensor(n)
	if !ok {
		return "[]"
	}
	var vals []string
	switch t.Elem {
	case F32:
		for _, v := range t.F32() {
			if v != v && math.Float32bits(v) != math.Float32bits(float32(math.NaN())) {
				return formatHex(t) // a NaN with a payload has no decimal form
			}
			vals = append(vals, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
	case I32:
		for _, v := range t.I32() {
			vals = append(vals, strconv.Itoa(int(v)))
		}
	default:
		return formatHex(t)
	}
	return "[" + strings.Join(vals, ", ") + "]"
}

func formatHex(t Tensor) string { return "x" + strconv.Quote(hex.EncodeToString(t.Data)) }

// formatPos prints "model.go:88,90 other.go:7".
func formatPos(ps []Pos) string {
	var b strings.Builder
	last := ""
	for _, p := range ps {
		if p.File == "" {
			continue
		}
		file := strings.Map(func(r rune) rune {
			if r == ':' || unicode.IsSpace(r) {
				return '_' // they separate positions
			}
			return r
		}, filepath.Base(p.File))
		num := strconv.Itoa(p.Line)
		switch {
		case last == "":
			b.WriteString(file + ":" + num)
		case file == last:
			b.WriteString("," + num)
		default:
			b.WriteString(" " + file + ":" + num)
		}
		last = file
	}
	return b.String()
}

// maxAlign keeps one long statement from pushing a whole block to the right.
const maxAlign = 72

func flush(b *strings.Builder, block []line) {
	var wl, wr, wt int
	for _, l := range block {
		if len(l.lhs) <= maxAlign/2 {
			wl = max(wl, len(l.lhs))
		}
		if len(l.rhs) <= maxAlign {
			wr = max(wr, len(l.rhs))
		}
		if l.tail != "" {
			wt = max(wt, len(l.types))
		}
	}
	for _, l := range block {
		s := fmt.Sprintf("  %-*s = %-*s : ", wl, l.lhs, wr, l.rhs)
		if l.tail == "" {
			s += l.types
		} else {
			s += fmt.Sprintf("%-*s%s", wt, l.types, l.tail)
		}
		b.WriteString(strings.TrimRight(s, " ") + "\n")
	}
}
