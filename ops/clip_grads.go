package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// ClipGradsOp is ClipOp over the gradients themselves, f32 or bf16, for devices
// that add up all of them in one go: the sum of each is rounded to f32, as
// SqSumOp does.
var ClipGradsOp = graph.Define(graph.Def[ClipAttrs]{
	Name: "clip.grads", Doc: "global-norm clipping factor and the norm of tensors", In: "g...", Out: "factor, norm",
	Infer: func(_ ClipAttrs, in []graph.Type) ([]graph.Type, error) {
		for i := range in {
			if err := Check(in[i:], Want{fmt.Sprintf("gradient %d", i), []graph.DType{graph.F32, graph.BF16}, -1}); err != nil {
				return nil, err
			}
		}
		return []graph.Type{scalarF32, scalarF32}, nil
	},
	Ref: func(a ClipAttrs, in, out []graph.Tensor) error {
		sums := make([]graph.Tensor, len(in))
		for i, t := range in {
			var s float64
			for j := range t.Len() {
				v := t.FloatAt(j)
				s += v * v
			}
			sums[i] = graph.FromF32([]float32{float32(s)})
		}
		return ClipOp.Run(a, sums, out)
	},
})

// AdamWCastOp is AdamWOp for a gradient in bf16, which is never written in f32.
var AdamWCastOp = graph.Define(graph.Def[AdamWAttrs]{
	Name: "fused.adamw_cast", Doc: "AdamW update by cast(g)",
	Updates: []graph.Update{{In: 0, Out: 0}, {In: 2, Out: 1}, {In: 3, Out: 2}},
	Uses:    []*graph.OpDef{CastOp.OpDef, AdamWOp.OpDef},
	Body: `(%p, %g, %m, %v, %hyper, %factor) -> (%pn, %mn, %vn) {
		%f            = cast(%g) {to=f32}
		%pn, %mn, %vn = adamw(%p, %f, %m, %v, %hyper, %factor) {beta1=$beta1, beta2=$beta2, eps=$eps, decay=$decay, part=$part, parts=$parts}
	}`,
})
