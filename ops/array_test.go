package ops_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

// arrayCases are the cases of the ops on arrays of any rank, and of the
// elementwise functions beside the activations.
func arrayCases() map[string][]opcheck.Case {
	r := rand.New(rand.NewPCG(7, 1))
	f := func(dims ...int) graph.Tensor { return opcheck.Normal(r, dims...) }
	scalar := func(v float32) graph.Tensor { return graph.FromF32([]float32{v}) }
	// away keeps values from the points where a function has a kink.
	away := func(t graph.Tensor) graph.Tensor {
		for i, v := range t.F32() {
			t.F32()[i] = v + float32(math.Copysign(0.5, float64(v)))
		}
		return t
	}
	binary := func(b graph.Tensor) []opcheck.Case {
		return []opcheck.Case{
			{In: []graph.Tensor{f(rows, 5), b}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "scalar", In: []graph.Tensor{f(rows, 5), scalar(-2)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "scalars", In: []graph.Tensor{scalar(3), scalar(2)}, Wrt: []int{0, 1}},
		}
	}
	cs := map[string][]opcheck.Case{
		"sub": binary(f(rows, 5)),
		"div": binary(away(f(rows, 5))),
		"compare": {
			{Name: "zero", Attrs: ops.CompareAttrs{Op: "ge"}, In: []graph.Tensor{away(f(rows, 5)), scalar(0)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "equal", Attrs: ops.CompareAttrs{Op: "eq"}, In: []graph.Tensor{f(rows, 5), f(rows, 5)}, Sym: rows, Wrt: []int{0, 1}},
		},
		"log_softmax": {
			{In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}},
			{Name: "scalar", In: []graph.Tensor{scalar(2)}, Wrt: []int{0}},
			{Name: "rank 3", In: []graph.Tensor{f(2, rows, 3)}, Sym: rows, Wrt: []int{0}},
		},
		"sum.axis": {
			{Attrs: ops.AxisSumAttrs{Axis: 1}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}},
			{Name: "symbolic", Attrs: ops.AxisSumAttrs{Axis: 0}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}},
			{Name: "mean of the middle", Attrs: ops.AxisSumAttrs{Axis: 1, Mean: true}, In: []graph.Tensor{f(2, rows, 3)}, Wrt: []int{0}},
			{Name: "vector", Attrs: ops.AxisSumAttrs{Mean: true}, In: []graph.Tensor{f(5)}, Wrt: []int{0}},
		},
		"broadcast": {
			{Attrs: ops.BroadcastAttrs{Shape: "[7,5]"}, In: []graph.Tensor{f(1, 5)}, Wrt: []int{0}},
			{Name: "columns", Attrs: ops.BroadcastAttrs{Shape: "[7,5]"}, In: []graph.Tensor{f(rows, 1)}, Wrt: []int{0}},
			{Name: "inner and outer, divided", Attrs: ops.BroadcastAttrs{Shape: "[2,3,7]", Mean: true}, In: []graph.Tensor{f(1, 3, 1)}, Wrt: []int{0}},
			{Name: "nothing to repeat", Attrs: ops.BroadcastAttrs{Shape: "[7,5]", Mean: true}, In: []graph.Tensor{f(rows, 5)}, Wrt: []int{0}},
			{Name: "scalar", Attrs: ops.BroadcastAttrs{Shape: "[]"}, In: []graph.Tensor{scalar(1)}, Wrt: []int{0}},
			{Name: "empty", Attrs: ops.BroadcastAttrs{Shape: "[0,5]", Mean: true}, In: []graph.Tensor{f(1, 5)}, Wrt: []int{0}},
		},
		"broadcast.grad": {
			{Attrs: ops.BroadcastAttrs{Shape: "[1,5]"}, In: []graph.Tensor{f(rows, 5)}},
			{Name: "inner and outer, divided", Attrs: ops.BroadcastAttrs{Shape: "[1,3,1]", Mean: true}, In: []graph.Tensor{f(2, 3, rows)}},
		},
		"reshape": {
			{Attrs: ops.ReshapeAttrs{Shape: "[5,2,7]"}, In: []graph.Tensor{f(rows, 10)}, Wrt: []int{0}},
			{Name: "to a scalar", Attrs: ops.ReshapeAttrs{Shape: "[]"}, In: []graph.Tensor{f(1, 1)}, Wrt: []int{0}},
			{Name: "empty", Attrs: ops.ReshapeAttrs{Shape: "[0]"}, In: []graph.Tensor{f(0, 4)}, Wrt: []int{0}},
		},
		"transpose": {
			{Attrs: ops.TransposeAttrs{Perm: "1 0"}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}},
			{Name: "rank 4", Attrs: ops.TransposeAttrs{Perm: "2 0 3 1"}, In: []graph.Tensor{f(2, 3, rows, 4)}, Sym: rows, Wrt: []int{0}},
			{Name: "scalar", Attrs: ops.TransposeAttrs{}, In: []graph.Tensor{scalar(2)}, Wrt: []int{0}},
		},
		"slice": {
			{Attrs: ops.SliceAttrs{Axis: 1, From: 1, To: 3}, In: []graph.Tensor{f(rows, 5)}, Sym: rows, Wrt: []int{0}},
			{Name: "outer", Attrs: ops.SliceAttrs{Axis: 0, From: 1, To: 2}, In: []graph.Tensor{f(3, rows, 2)}, Sym: rows, Wrt: []int{0}},
		},
		"pad": {{Attrs: ops.PadAttrs{Axis: 1, Before: 2, After: 1}, In: []graph.Tensor{f(rows, 5)}, Sym: rows}},
		"concat": {
			{Attrs: ops.AxisAttrs{Axis: 1}, In: []graph.Tensor{f(rows, 5), f(rows, 1), f(rows, 2)}, Sym: rows, Wrt: []int{0, 1, 2}},
			{Name: "outer", Attrs: ops.AxisAttrs{Axis: 0}, In: []graph.Tensor{f(3, rows), f(2, rows)}, Sym: rows, Wrt: []int{0, 1}},
			{Name: "one", Attrs: ops.AxisAttrs{Axis: 0}, In: []graph.Tensor{f(3, rows)}, Sym: rows, Wrt: []int{0}},
		},
	}
	for name, x := range map[string]graph.Tensor{
		"relu": away(f(rows, 5)), "abs": away(f(rows, 5)), "exp": f(rows, 5), "expm1": f(rows, 5),
		"log": positive(f(rows, 5)), "log1p": positive(f(rows, 5)), "sqrt": positive(f(rows, 5)),
		"tanh": f(rows, 5), "sigmoid": f(rows, 5), "softplus": f(rows, 5), "sin": f(rows, 5), "cos": f(rows, 5),
	} {
		if name == "log" || name == "log1p" || name == "sqrt" {
			for i := range x.F32() {
				x.F32()[i] += 0.5 // a finite difference must not leave the domain
			}
		}
		cs[name] = []opcheck.Case{{In: []graph.Tensor{x}, Sym: rows, Wrt: []int{0}}, {Name: "scalar", In: []graph.Tensor{scalar(0.7)}, Wrt: []int{0}}}
		cs[name+".grad"] = []opcheck.Case{{In: []graph.Tensor{x, f(rows, 5)}, Sym: rows}}
	}
	batch := func(ta, tb bool) opcheck.Case {
		a, b := f(rows, 2, 3, 4), f(rows, 2, 4, 5)
		if ta {
			a = f(rows, 2, 4, 3)
		}
		if tb {
			b = f(rows, 2, 5, 4)
		}
		return opcheck.Case{Attrs: ops.MatMulAttrs{TA: ta, TB: tb}, In: []graph.Tensor{a, b}, Sym: rows, Wrt: []int{0, 1}}
	}
	cs["matmul.batch"] = []opcheck.Case{batch(false, false), batch(false, true), batch(true, false), batch(true, true)}
	return cs
}

func TestUnaryAtTheEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	tests := []struct {
		op      *graph.OpDef
		x, want float32
	}{
		{ops.SoftplusOp.OpDef, 200, 200}, {ops.SoftplusOp.OpDef, -200, 0}, {ops.SoftplusOp.OpDef, 0, math.Ln2},
		{ops.SigmoidOp.OpDef, -1000, 0}, {ops.SigmoidOp.OpDef, 1000, 1},
		{ops.ReLUOp.OpDef, -inf, 0}, {ops.ReLUOp.OpDef, inf, inf}, {ops.AbsOp.OpDef, -inf, inf},
		{ops.Log1pOp.OpDef, 1e-20, 1e-20}, {ops.Expm1Op.OpDef, 1e-20, 1e-20}, {ops.LogOp.OpDef, 0, -inf},
	}
	for _, tt := range tests {
		out := []graph.Tensor{graph.NewTensor(graph.F32)}
		if err := tt.op.Run(graph.None{}, []graph.Tensor{graph.FromF32([]float32{tt.x})}, out); err != nil {
			t.Fatal(err)
		}
		if got := out[0].F32()[0]; got != tt.want {
			t.Errorf("%s(%g) is %g, want %g", tt.op.Name, tt.x, got, tt.want)
		}
	}
	// The gate of the rectifier is open at zero.
	out := []graph.Tensor{graph.NewTensor(graph.F32)}
	in := []graph.Tensor{graph.FromF32([]float32{0}), graph.FromF32([]float32{3})}
	if err := ops.ReLUGradOp.Run(graph.None{}, in, out); err != nil || out[0].F32()[0] != 3 {
		t.Errorf("the rectifier's gradient at zero is %g (%v)", out[0].F32()[0], err)
	}
}

func TestCompareRelations(t *testing.T) {
	a, b := graph.FromF32([]float32{1, 2, 3}, 3), graph.FromF32([]float32{2, 2, 2}, 3)
	for op, want := range map[string][3]float32{
		"lt": {1, 0, 0}, "le": {1, 1, 0}, "gt": {0, 0, 1}, "ge": {0, 1, 1}, "eq": {0, 1, 0}, "ne": {1, 0, 1},
	} {
		out := []graph.Tensor{graph.NewTensor(graph.F32, 3)}
		if err := ops.CompareOp.Run(ops.CompareAttrs{Op: op}, []graph.Tensor{a, b}, out); err != nil || [3]float32(out[0].F32()) != want {
			t.Errorf("%s gives %v, want %v (%v)", op, out[0].F32(), want, err)
		}
	}
	if _, err := ops.CompareOp.InferTypes(ops.CompareAttrs{Op: "like"}, []graph.Type{a.Type(), b.Type()}); err == nil {
		t.Error("an unknown relation is accepted")
	}
}

// TestReshapeWithSymbols checks which shapes have as many elements as [S,6] for
// every S.
func TestReshapeWithSymbols(t *testing.T) {
	tests := []struct {
		shape string
		ok    bool
	}{
		{"[S,6]", true}, {"[6,S]", true}, {"[2*S,3]", true}, {"[6*S]", true}, {"[1,S,3,2]", true},
		{"[S,5]", false}, {"[S,S]", false}, {"[S+1,6]", false}, {"[6]", false}, {"[T,6]", false}, {"[0*S,6]", false}, {"nonsense", false},
	}
	for _, tt := range tests {
		b := graph.NewBuilder("g")
		s := b.Sym("S", 1, 9)
		b.Sym("T", 1, 9)
		x := b.Input("x", graph.F32, s, graph.C(6))
		y := ops.ReshapeOp.One(ops.ReshapeAttrs{Shape: tt.shape}, x)
		if err := b.Err(); (err == nil) != tt.ok {
			t.Errorf("to %s: %v", tt.shape, err)
		} else if tt.ok && y.Type().Shape.String() != tt.shape {
			t.Errorf("to %s: the result is %s", tt.shape, y.Type())
		}
	}
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 9)
	x := b.Input("x", graph.F32, s.Times(2).Plus(2), graph.C(6))
	if y := ops.Reshape(x, s.Plus(1), graph.C(12)); !y.Valid() {
		t.Errorf("2*S+2 rows of 6 are S+1 rows of 12: %v", b.Err())
	}
}

func TestRefusedArrays(t *testing.T) {
	b := graph.NewBuilder("g")
	s := b.Sym("S", 1, 9)
	x := b.Input("x", graph.F32, s, graph.C(6))
	v := b.Input("v", graph.F32, graph.C(6))
	tests := []struct {
		v    graph.Value
		want string
	}{
		{ops.Slice(x, 0, 0, 1), "not constant"}, {ops.Slice(x, 1, 3, 7), "3..7"}, {ops.Slice(x, 2, 0, 1), "axis 2"},
		{ops.Pad(x, 1, -1, 0), "negative"}, {ops.SumAxis(x, -1), "axis -1"},
		{ops.Concat(0, x, x), "must be constant"}, {ops.Concat(1, x, v), "axis 1"},
		{ops.Transpose(x, 0, 0), "no order"}, {ops.Transpose(x, 0), "no order"},
		{ops.Broadcast(v, s, graph.C(6)), "needs the axes"}, {ops.BatchMatMul(x, x, false, true), "at least 3"},
	}
	for i, err := range b.Err().(interface{ Unwrap() []error }).Unwrap() {
		if i < len(tests) && (tests[i].v.Valid() || !strings.Contains(err.Error(), tests[i].want)) {
			t.Errorf("got %v, want %q", err, tests[i].want)
		}
	}
}
