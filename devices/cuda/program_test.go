package cuda

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"github.com/trit-ml/trit/runtime"
)

const width, layers, maxTokens = 320, 3, 64

// residuals is x + bitlinear(norm(x)), layers times, as the infer pipeline
// leaves it, with weights that are already ternary.
func residuals(t *testing.T) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder("residuals")
	x := b.Input("x", graph.F32, b.Sym("S", 1, maxTokens), graph.C(width))
	for i := range layers {
		leave := b.Scope(string(rune('a' + i)))
		g := b.Param(b.Path("g"), graph.F32, width)
		w := b.Param(b.Path("w"), graph.Tern, width, width)
		gamma := b.Param(b.Path("gamma"), graph.F32)
		qs := bitlinear.SubLNQuantOp.Emit(chainAttrs, x, g)
		x = ops.Add(bitlinear.Rescale(ternary.MatMul(qs[0], w), qs[1], gamma), x)
		leave()
	}
	g, err := b.Finish(x)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func residualWeights(rng *rand.Rand) runtime.Tensors {
	ts := runtime.Tensors{}
	for i := range layers {
		w := newWeights(size3{1, width, width}, rng)
		scope := string(rune('a'+i)) + "."
		ts[scope+"g"], ts[scope+"w"] = w.g, w.t
		ts[scope+"gamma"] = graph.FromF32([]float32{0.05})
	}
	return ts
}

// TestCompileWithoutGPU lowers a graph onto a GPU that is not there.
func TestCompileWithoutGPU(t *testing.T) {
	d, err := Offline("sm_90")
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(residuals(t), d)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.Explain(&b, 8); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	t.Log(text)
	for _, want := range []string{"cuda:sm_90", "subln_quant.i8", "ternary_matmul.i2x64.m8.dp4a", "i2x64.dp4a", "rescale.f32", "add.float"} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, text)
		}
	}
}
