package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// label is what a picture writes for a node: its op and what tells it from
// others of its kind.
func label(n *graph.Node) string {
	if name := graph.SourceName(n); name != "" {
		return n.Op.Name + " " + name
	}
	return n.Op.Name
}

// writeDOT prints g for Graphviz.
func writeDOT(w io.Writer, g *graph.Graph) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "digraph %q {\n  rankdir=TB;\n  node [shape=box, fontname=\"monospace\", fontsize=10];\n  edge [fontname=\"monospace\", fontsize=9];\n", g.Name)
	id := map[*graph.Node]int{}
	names := g.Names()
	for i, n := range g.Nodes {
		id[n] = i
		style := ""
		switch {
		case n.Op == graph.ParamOp.OpDef, n.Op == graph.ConstOp.OpDef:
			style = ", style=filled, fillcolor=\"#e8eef7\""
		case n.Op == graph.StateOp.OpDef:
			style = ", style=filled, fillcolor=\"#f7efe0\""
		case n.Op == graph.InputOp.OpDef:
			style = ", shape=ellipse"
		case n.Op.Body != nil:
			style = ", style=filled, fillcolor=\"#e6f4e6\""
		}
		fmt.Fprintf(b, "  n%d [label=%q%s];\n", i, label(n), style)
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			fmt.Fprintf(b, "  n%d -> n%d [label=%q];\n", id[v.Node()], id[n], names[v]+" "+v.Type().String())
		}
	}
	for i, v := range g.Outs {
		fmt.Fprintf(b, "  out%d [label=%q, shape=ellipse];\n  n%d -> out%d [label=%q];\n", i, "output "+strings.TrimPrefix(names[v], "%"), id[v.Node()], i, v.Type().String())
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}
