// Package screen declares the ops that find the likeliest tokens without
// multiplying the whole output head. A copy of the head in few bits gives every
// logit within a rigorous bound; only rows that could be among the wanted ones
// are multiplied as they are. What comes out is what the whole head would give.
package screen

import (
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// All returns the ops of this package.
func All() []*graph.OpDef {
	return []*graph.OpDef{KeepOp.OpDef, PlanesOp.OpDef, TopOp.OpDef, ListOp.OpDef, LikeliestOp.OpDef, DrawOp.OpDef}
}

// KeepOp keeps the largest elements of each row: y[i,j] = x[i,j] if fewer than
// k[i] elements of row i are larger, −Inf otherwise. Elements equal to the k-th
// are all kept, NaN never is, and k below 1 keeps all numbers.
var KeepOp = graph.Define(graph.Def[graph.None]{
	Name: "screen.keep", Doc: "the k[i] largest elements of row i, −Inf elsewhere", In: "x, k", Out: "y",
	Rowwise: []int{0, 1}, Exact: true,
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.F32("x", 2), ops.I32("k", 1)); err != nil {
			return nil, err
		}
		return []graph.Type{in[0]}, ops.EqualDim("x", in[0].Shape[0], "k", in[1].Shape[0])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		x, y, n := in[0].F32(), out[0].F32(), in[0].Dims[1]
		for i, k := range in[1].I32() {
			keep(y[i*n:(i+1)*n], x[i*n:(i+1)*n], int(k))
		}
		return nil
	},
})

func keep(y, x []float32, k int) {
	none := float32(math.Inf(-1))
	least := none
	numbers := slices.DeleteFunc(slices.Clone(x), func(v float32) bool { return v != v })
	if k > 0 && k < len(numbers) {
		slices.Sort(numbers)
		least = numbers[len(numbers)-k]
	}
	for i, v := range x {
		if !(v >= least) {
			v = none
		}
		y[i] = v
	}
}

// Keep returns the k[i] largest elements of row i of x f32[S,N], and −Inf in
// place of the others. k is i32[S].
func Keep(x, k graph.Value) graph.Value { return KeepOp.One(graph.None{}, x, k) }

// TopOp is the logits x·wᵀ of the k[i] likeliest tokens of row i. The planes are
// what PlanesOp makes of w: they say nothing new, so the body does not read them,
// but a kernel reads them instead of most of w.
var TopOp = graph.Define(graph.Def[graph.None]{
	Name: "screen.top", Doc: "the k[i] largest of row i of x·wᵀ, −Inf elsewhere",
	Uses: []*graph.OpDef{ops.MatMulOp.OpDef, KeepOp.OpDef},
	Body: `(%x, %k, %w, %nibbles, %crumbs, %bounds) -> (%y) {
		%l = matmul(%x, %w) {tb=true}
		%y = screen.keep(%l, %k)
	}`,
})

// Top returns the logits of the k[i] likeliest tokens, −Inf for the others:
// x is f32[S,K], k i32[S], w [N,K].
func Top(x, k, w graph.Value) graph.Value {
	p := PlanesOp.Emit(graph.None{}, w)
	return TopOp.One(graph.None{}, x, k, w, p[0], p[1], p[2])
}
