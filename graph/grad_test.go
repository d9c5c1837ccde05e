package graph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/graph/testdata/extop"
	"github.com/trit-ml/trit/ops"
)

// gradients differentiates the sum of y and evaluates the results at x.
func gradients(t *testing.T, x []float32, build func(b *graph.Builder, x graph.Value) (y graph.Value, wrt []graph.Value)) [][]float32 {
	t.Helper()
	b := graph.NewBuilder("g")
	y, wrt := build(b, b.Input("x", graph.F32, graph.C(len(x))))
	ds, err := graph.Gradients(b, ops.Sum(y), wrt, ops.Add)
	if err != nil {
		t.Fatal(err)
	}
	var outs []graph.Value
	for _, d := range ds {
		if d.Valid() {
			outs = append(outs, d)
		}
	}
	g := finish(t, b, outs...)
	roundTrip(t, g, allOps())
	res, err := graph.Eval(g, graph.Env{Inputs: map[string]graph.Tensor{"x": graph.FromF32(x, len(x))}})
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float32, len(ds))
	i := 0
	for j, d := range ds {
		if d.Valid() {
			out[j] = res.Outs[i].F32()
			i++
		}
	}
	return out
}

func TestGradientsAccumulate(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value)
		want  [][]float32 // at x = 1, -2, 3
	}{
		{"x itself", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) { return x, []graph.Value{x} }, [][]float32{{1, 1, 1}}},
		{"x+x", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			return ops.Add(x, x), []graph.Value{x}
		}, [][]float32{{2, 2, 2}}},
		{"x*x", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			return ops.Mul(x, x), []graph.Value{x}
		}, [][]float32{{2, -4, 6}}},
		{"a diamond", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			y := ops.Mul(x, x)
			z := ops.Add(ops.Scale(y, 2), ops.Mul(y, x)) // 2x²+x³
			return z, []graph.Value{x, y}
		}, [][]float32{{4 + 3, -8 + 12, 12 + 27}, {2 + 1, 2 - 2, 2 + 3}}},
		{"scalar operand", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			s := ops.Sum(x)
			return ops.Mul(x, s), []graph.Value{x, s} // Σx·Σx
		}, [][]float32{{4, 4, 4}, {2}}},
		{"independent", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			return ops.Scale(x, 5), []graph.Value{b.Param("w", graph.F32, 3), x}
		}, [][]float32{nil, {5, 5, 5}}},
		{"dead branch without a gradient", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			extop.Quad(b.Param("m", graph.F32, 2, 2))
			ops.SqSumOp.One(graph.None{}, x)
			return ops.Scale(x, 5), []graph.Value{x}
		}, [][]float32{{5, 5, 5}}},
		{"op without a gradient below the wanted value", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			n := ops.SqSumOp.One(graph.None{}, x)
			return ops.Mul(x, n), []graph.Value{n}
		}, [][]float32{{2}}},
		{"first result only", func(b *graph.Builder, x graph.Value) (graph.Value, []graph.Value) {
			// The log-sum-exp is unused: its gradient is invalid, not an error.
			m := b.Const(graph.FromF32([]float32{0, 0}, 1, 2))
			loss := ops.CrossEntropyOp.Emit(ops.IgnoreAttrs{Ignore: -1}, ops.Mul(m, ops.Sum(x)), b.Const(graph.FromI32([]int32{0}, 1)))[0]
			return ops.Add(x, loss), []graph.Value{x}
		}, [][]float32{{1, 1, 1}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, gradients(t, []float32{1, -2, 3}, tt.build)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

var badGradOp = graph.Define(graph.Def[ops.ScaleAttrs]{
	Name: "test.badgrad", In: "x", Out: "y",
	Infer: func(_ ops.ScaleAttrs, in []graph.Type) ([]graph.Type, error) { return in, nil },
	Grad: func(a ops.ScaleAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		switch a.By {
		case 1:
			return []graph.Value{ops.Sum(c.DOut[0])}, nil // the wrong type
		case 2:
			return []graph.Value{c.DOut[0], c.DOut[0]}, nil // too many
		case 3:
			return []graph.Value{ops.Add(c.DOut[0], ops.Cast(c.DOut[0], graph.BF16))}, nil // a mistake
		}
		return nil, errors.New("no idea")
	},
})

func TestGradientErrorsNameThePosition(t *testing.T) {
	other := graph.NewBuilder("other")
	tests := []struct {
		want  string
		build func(b *graph.Builder, x graph.Value) (y, w graph.Value)
	}{
		{"POS: layers.0: ext.double: op has no gradient", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return ops.Sum(extop.Double(x)), x
		}},
		{"POS: layers.0: test.badgrad: gradient of operand x is f32[], want f32[2,2]", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return ops.Sum(badGradOp.One(ops.ScaleAttrs{By: 1}, x)), x
		}},
		{"POS: layers.0: test.badgrad: gradient rule gives 2 values for 1 operands", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return ops.Sum(badGradOp.One(ops.ScaleAttrs{By: 2}, x)), x
		}},
		{"POS: add: b is bf16[2,2]", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return ops.Sum(badGradOp.One(ops.ScaleAttrs{By: 3}, x)), x
		}},
		{"POS: layers.0: test.badgrad: gradient: no idea", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return ops.Sum(badGradOp.One(ops.ScaleAttrs{By: 4}, x)), x
		}},
		{"the loss is f32[2,2], want the scalar f32[]", func(b *graph.Builder, x graph.Value) (y, w graph.Value) { return x, x }},
		{"the loss does not belong to this graph", func(b *graph.Builder, x graph.Value) (y, w graph.Value) {
			return other.ConstF32(1), x
		}},
		{"the loss does not belong", func(b *graph.Builder, x graph.Value) (y, w graph.Value) { return graph.Value{}, x }},
		{"value 0 to differentiate with respect to does not belong", func(b *graph.Builder, x graph.Value) (y, w graph.Value) { return ops.Sum(x), graph.Value{} }},
		{"value 0 to differentiate with respect to does not belong", func(b *graph.Builder, x graph.Value) (y, w graph.Value) { return ops.Sum(x), other.ConstF32(1) }},
	}
	for _, tt := range tests {
		b := graph.NewBuilder("g")
		x := b.Param("x", graph.F32, 2, 2)
		leave := b.Scope("layers.0")
		y, w := tt.build(b, x)
		leave()
		want := tt.want
		if strings.HasPrefix(want, "POS") { // the line of the loss's operand
			want = y.Node().In[0].Node().Pos[0].String() + want[len("POS"):]
		}
		_, err := graph.Gradients(b, y, []graph.Value{w}, ops.Add)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if strings.Contains(tt.want, "has no gradient") != errors.Is(err, graph.ErrNoGrad) {
			t.Errorf("%v: errors.Is(ErrNoGrad) is wrong", err)
		}
	}
}

func TestGradientNodesKeepScopeAndPosition(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Param("x", graph.F32, 3)
	leave := b.Scope("mlp")
	y := ops.ReLU2(x)
	leave()
	loss := ops.Sum(y)
	leave = b.Scope("here")
	ds, err := graph.Gradients(b, loss, []graph.Value{x}, ops.Add)
	if err != nil {
		t.Fatal(err)
	}
	n := ds[0].Node()
	if n.Scope != "grad.mlp" || n.Pos[0] != y.Node().Pos[0] {
		t.Errorf("the gradient is in %q at %v", n.Scope, n.Pos)
	}
	after := ops.GELU(y).Node()
	if after.Scope != "here" || after.Pos[0].Line == n.Pos[0].Line {
		t.Errorf("after Gradients nodes are in %q at %v", after.Scope, after.Pos)
	}
	leave()
}

func TestGradientsOfAParsedGraphHaveNoPosition(t *testing.T) {
	g := parse(t, "graph @g()\n%x = param \"x\" : f32[3]\n%y = relu2(%x)\n%l = sum(%y)\nreturn %l")
	b, m := graph.Reopen(g)
	ds, err := graph.Gradients(b, m[g.Outs[0]], []graph.Value{m[g.Params()[0].Result(0)]}, ops.Add)
	if err != nil {
		t.Fatal(err)
	}
	if p := ds[0].Node().Pos; len(p) != 0 {
		t.Errorf("the gradient claims to be at %v", p)
	}
}
