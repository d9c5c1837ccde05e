package passes_test

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
)

// A fusion of one's own is one declaration: its meaning is its body, and from
// the body follow the type rule, the reference, the rule that finds it in a
// graph and the way back.
var scaledReLU2 = graph.Define(graph.Def[ops.ScaleAttrs]{
	Name: "mine.scaled_relu2",
	Uses: []*graph.OpDef{ops.ScaleOp.OpDef, ops.ReLU2Op.OpDef},
	Body: `(%x) -> (%y) {
		%s = scale(%x) {by=$by}
		%y = relu2(%s)
	}`,
})

// mergeScales is a pass of one's own: scale(scale(x)) becomes one scale.
func mergeScales() passes.Pass {
	return passes.Pass{Name: "merge-scales", Run: func(g *graph.Graph) (*graph.Graph, error) {
		return graph.Rewrite(g, func(rw *graph.Rewriter, n *graph.Node) ([]graph.Value, bool) {
			outer, ok := ops.ScaleOp.Of(n)
			if !ok {
				return nil, false
			}
			inner, ok := ops.ScaleOp.Of(n.In[0].Node())
			if !ok {
				return nil, false
			}
			return []graph.Value{ops.Scale(rw.Get(n.In[0].Node().In[0]), inner.By*outer.By)}, true
		})
	}}
}

// Passes and fusions declared outside trit are members of a pipeline like any
// other.
func Example_ownPassAndFusion() {
	b := graph.NewBuilder("demo")
	x := b.Input("x", graph.F32, b.Sym("S", 1, 8), graph.C(4))
	y := ops.ReLU2(ops.Scale(ops.Scale(x, 0.5), 4))
	g, err := b.Finish(b.Name(y, "y"))
	if err != nil {
		fmt.Println(err)
		return
	}
	pipeline := passes.Pipeline{mergeScales(), passes.Fuse(scaledReLU2.OpDef), passes.DCE()}
	g, err = pipeline.Run(g, func(pass string, g *graph.Graph) {
		fmt.Printf("after %q: %d nodes\n", pass, len(g.Nodes))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	last := g.Outs[0].Node()
	attrs, _ := scaledReLU2.Of(last)
	fmt.Println(last.Op.Name, attrs.By)
	// Output:
	// after "": 4 nodes
	// after "merge-scales": 3 nodes
	// after "fuse": 2 nodes
	// after "dce": 2 nodes
	// mine.scaled_relu2 2
}
