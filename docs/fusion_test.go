package docs

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/passes"
)

// glu is a fusion: a name for a body over other ops.
var glu = graph.Define(graph.Def[graph.None]{
	Name: "my.silu_glu", Doc: "silu(gate) * up",
	Uses: []*graph.OpDef{ops.SiLUOp.OpDef, ops.MulOp.OpDef},
	Body: `(%gate, %up) -> (%y) {
		%r = silu(%gate)
		%y = mul(%r, %up)
	}`,
})

// Example_fusion finds the body in a graph, whichever way round mul is written.
func Example_fusion() {
	b := graph.NewBuilder("demo")
	s := b.Sym("S", 1, 8)
	gate, up := b.Input("gate", graph.F32, s, graph.C(4)), b.Input("up", graph.F32, s, graph.C(4))
	g, err := b.Finish(ops.Mul(up, ops.SiLU(gate)))
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err = passes.Fuse(glu.OpDef).Run(g)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Outs[0].Op().Name)
	// Output: my.silu_glu
}

// withGLU is how a model's own fusions join the infer pipeline: they are tried
// before the built-in ones.
func withGLU(cache passes.Cache) passes.Pipeline {
	return passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 1, Fused: []*graph.OpDef{glu.OpDef}})
}

// Example_pipeline shows that the fusion is part of the ordinary fuse pass.
func Example_pipeline() {
	p := withGLU(passes.NewCache(1, 128, 32, graph.F32))
	fmt.Println(p.Names(), len(bitlinear.Fused()), "built-in fusions")
	// Output: [kv-cache last-row screen-head lower-bitlinear cse merge-siblings fold fuse dce] 10 built-in fusions
}
