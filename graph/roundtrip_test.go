package graph_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"pgregory.net/rapid"
)

// same compares graphs as structures, node by node: the textual form could lose
// something and still print equally.
func same(a, b *graph.Graph) string {
	type node struct {
		Op           *graph.OpDef
		Attrs        any
		In           [][2]int
		Out          []string
		Scope        string
		Names, Files []string
	}
	list := func(g *graph.Graph) (ns []node, outs [][2]int) {
		index := map[*graph.Node]int{}
		// The text lists inputs first, whatever their place among the nodes.
		nodes := g.Inputs()
		for _, n := range g.Nodes {
			if n.Op != graph.InputOp.OpDef {
				nodes = append(nodes, n)
			}
		}
		for i, n := range nodes {
			index[n] = i
		}
		refs := func(vs []graph.Value) (out [][2]int) {
			for _, v := range vs {
				out = append(out, [2]int{index[v.Node()], v.Index()})
			}
			return out
		}
		names := g.Names()
		for _, n := range nodes {
			m := node{Op: n.Op, Attrs: n.Attrs, In: refs(n.In)}
			for i, t := range n.Out {
				m.Out = append(m.Out, t.String())
				m.Names = append(m.Names, names[n.Result(i)])
			}
			if n.Op != graph.InputOp.OpDef { // a header has neither
				m.Scope = n.Scope
				for _, p := range n.Pos {
					if s := p.String(); p.File != "" {
						m.Files = append(m.Files, s)
					}
				}
			}
			ns = append(ns, m)
		}
		return ns, refs(g.Outs)
	}
	an, ao := list(a)
	bn, bo := list(b)
	// Pointers and attributes are compared with ==, as passes do.
	opts := cmp.Options{
		cmp.Comparer(func(x, y *graph.OpDef) bool { return x == y }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Attrs" }, cmp.Comparer(func(x, y any) bool { return x == y })),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Index(-1).String() == ".Files" }, cmp.Comparer(samePositions)),
	}
	return cmp.Diff(a.Name, b.Name) + cmp.Diff(a.Syms, b.Syms) + cmp.Diff(an, bn, opts) + cmp.Diff(ao, bo)
}

// samePositions ignores characters of file names that separate positions.
func samePositions(x, y []string) bool {
	clean := strings.NewReplacer(":", "_", " ", "_")
	return clean.Replace(strings.Join(x, "|")) == clean.Replace(strings.Join(y, "|"))
}

func roundTrip(t testing.TB, g *graph.Graph, set graph.OpSet) {
	t.Helper()
	text := g.String()
	back, err := graph.Parse(strings.NewReader(text), set)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(text, back.String()); diff != "" {
		t.Fatalf("print → parse → print differs:\n%s", diff)
	}
	if diff := same(g, back); diff != "" {
		t.Fatalf("the graph that was read back differs:\n%s\n%s", diff, text)
	}
}

func TestRandomGraphsRoundTrip(t *testing.T) {
	set := allOps()
	rapid.Check(t, func(rt *rapid.T) { roundTrip(fatal{t, rt}, drawGraph(rt), set) })
}

// fatal reports to rapid, which shrinks, what is otherwise a test's.
type fatal struct {
	testing.TB
	rt *rapid.T
}

func (f fatal) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f fatal) Fatal(args ...any)                 { f.rt.Fatal(args...) }

func TestShuffledGraphsRoundTrip(t *testing.T) {
	set := allOps()
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		g.Nodes = shuffle(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)), g)
		if err := graph.Verify(g, graph.AnyPhase); err != nil {
			rt.Fatal(err)
		}
		roundTrip(fatal{t, rt}, g, set)
	})
}

func TestRewriteWithoutChangeIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := drawGraph(rt)
		copied, err := graph.Rewrite(g, func(*graph.Rewriter, *graph.Node) ([]graph.Value, bool) { return nil, false })
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(g.String(), copied.String()); diff != "" {
			rt.Fatal(diff)
		}
		b, m := graph.Reopen(g)
		outs := make([]graph.Value, len(g.Outs))
		for i, v := range g.Outs {
			outs[i] = m[v]
		}
		opened, err := b.Finish(outs...)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(g.String(), opened.String()); diff != "" {
			rt.Fatal(diff)
		}
	})
}
