package ops_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/ops"
)

// units reads the reference inputs and outputs of single ops.
func units(t *testing.T) func(name string) graph.Tensor {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, "units.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(name string) graph.Tensor {
		t.Helper()
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

// run applies an op to tensors.
func run(t *testing.T, op *graph.OpDef, attrs any, in ...graph.Tensor) []graph.Tensor {
	t.Helper()
	types := make([]graph.Type, len(in))
	for i, x := range in {
		types[i] = x.Type()
	}
	outTypes, err := op.InferTypes(attrs, types)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]graph.Tensor, len(outTypes))
	for i, ot := range outTypes {
		dims, err := ot.Shape.Eval(nil)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = graph.NewTensor(ot.Elem, dims...)
	}
	if err := op.Run(attrs, in, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// near demands |got−want| ≤ tol·max|want| for all elements, and logs what was
// reached.
func near(t *testing.T, what string, want, got []float32, tol float64) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	var most, diff float64
	equal := 0
	for i := range want {
		most = max(most, math.Abs(float64(want[i])))
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if !(d <= math.MaxFloat64) {
			t.Fatalf("%s[%d] is %g, want %g", what, i, got[i], want[i])
		}
		if d == 0 {
			equal++
		}
		diff = max(diff, d)
	}
	t.Logf("%s: off by %.2g of the largest value, %d of %d equal", what, diff/most, equal, len(want))
	if !(diff <= tol*most) {
		t.Errorf("%s: off by %.3g of the largest value, want %g", what, diff/most, tol)
	}
}

func reshape(t graph.Tensor, dims ...int) graph.Tensor {
	t.Dims = dims
	return t
}

func TestGoldenActivationQuantizer(t *testing.T) {
	u := units(t)
	x := u("aq.x")
	out := run(t, ops.QuantActOp.OpDef, ops.Int8, x)
	if diff := cmp.Diff(u("aq.codes").I8(), out[0].I8()); diff != "" {
		t.Errorf("codes: %s", diff)
	}
	if diff := cmp.Diff(u("aq.scale").F32(), out[1].F32()); diff != "" {
		t.Errorf("scales: %s", diff)
	}
	fake := run(t, ops.FakeQuantOp.OpDef, ops.Int8, x)
	if diff := cmp.Diff(u("aq.hf_fakequant").F32(), fake[0].F32()); diff != "" {
		t.Errorf("dequantized: %s", diff)
	}
}

func TestGoldenRMSNorm(t *testing.T) {
	u := units(t)
	for name, eps := range map[string]float64{"rms1e-05": 1e-5, "rms1e-06": 1e-6} {
		x, w, dy := u(name+".x"), u(name+".w"), u(name+".dy")
		a := ops.NormAttrs{Eps: eps}
		near(t, name+".y", u(name+".y").F32(), run(t, ops.RMSNormOp.OpDef, a, x, w)[0].F32(), 3e-7)
		d := run(t, ops.RMSNormGradOp.OpDef, a, x, w, dy)
		near(t, name+".dx", u(name+".dx").F32(), d[0].F32(), 3e-7)
		near(t, name+".dw", u(name+".dw").F32(), d[1].F32(), 3e-7)
	}
}

// TestGoldenRoPE compares with tables and rotations up to position 4095, where
// frequencies that are rounded otherwise are off by 2e-4.
func TestGoldenRoPE(t *testing.T) {
	u := units(t)
	for name, hd := range map[string]int{"rope24": 24, "rope128": 128} {
		theta := float64(u(name + ".theta").F32()[0])
		pos := reshape(u(name+".pos"), 9)
		var cos, sin []float32
		for _, p := range pos.I32() {
			for i := range hd {
				c, s := ops.RoPEAngle(theta, hd, int(p), i%(hd/2))
				cos, sin = append(cos, c), append(sin, s)
			}
		}
		near(t, name+".cos", u(name+".cos").F32(), cos, 2e-7)
		near(t, name+".sin", u(name+".sin").F32(), sin, 2e-7)
		for _, side := range []string{"q", "k"} {
			x := u(name + "." + side) // [1,H,S,hd]
			want := u(name + "." + side + "_out")
			got := run(t, ops.RoPEOp.OpDef, ops.RoPEAttrs{Theta: theta, HeadDim: hd}, tokensFirst(x), pos)
			near(t, name+"."+side, tokensFirst(want).F32(), got[0].F32(), 2e-7)
		}
	}
}

// tokensFirst turns [B,H,S,hd] into [B*S,H*hd].
func tokensFirst(x graph.Tensor) graph.Tensor {
	b, h, s, d := x.Dims[0], x.Dims[1], x.Dims[2], x.Dims[3]
	out := graph.NewTensor(graph.F32, b*s, h*d)
	for i := range b {
		for j := range h {
			for k := range s {
				from := ((i*h+j)*s + k) * d
				copy(out.F32()[((i*s+k)*h+j)*d:][:d], x.F32()[from:from+d])
			}
		}
	}
	return out
}

func TestGoldenAttention(t *testing.T) {
	u := units(t)
	a := ops.AttentionAttrs{Heads: 4, KVHeads: 2}
	q, k, v := tokensFirst(u("attn.q")), tokensFirst(u("attn.k")), tokensFirst(u("attn.v"))
	n := q.Dims[0]
	seq, pos := graph.NewTensor(graph.I32, n), graph.NewTensor(graph.I32, n)
	for i := range n {
		seq.I32()[i], pos.I32()[i] = int32(i/9), int32(i%9)
	}
	out := run(t, ops.AttentionOp.OpDef, a, q, k, v, seq, pos)
	near(t, "attn.y", tokensFirst(u("attn.y")).F32(), out[0].F32(), 5e-7)
	d := run(t, ops.AttentionGradOp.OpDef, a, q, k, v, out[0], out[1], tokensFirst(u("attn.dy")), seq, pos)
	for i, name := range []string{"attn.dq", "attn.dk", "attn.dv"} {
		near(t, name, tokensFirst(u(name)).F32(), d[i].F32(), 5e-7)
	}
}

func TestGoldenGLU(t *testing.T) {
	u := units(t)
	gate, up, dy := u("glu.gate"), u("glu.up"), u("glu.dy")
	r := run(t, ops.ReLU2Op.OpDef, graph.None{}, gate)[0]
	near(t, "glu.y", u("glu.y").F32(), run(t, ops.MulOp.OpDef, graph.None{}, r, up)[0].F32(), 3e-7)
	near(t, "glu.dup", u("glu.dup").F32(), run(t, ops.MulOp.OpDef, graph.None{}, r, dy)[0].F32(), 3e-7)
	dr := run(t, ops.MulOp.OpDef, graph.None{}, dy, up)[0]
	near(t, "glu.dgate", u("glu.dgate").F32(), run(t, ops.ReLU2GradOp.OpDef, graph.None{}, gate, dr)[0].F32(), 3e-7)
}

func TestGoldenCrossEntropy(t *testing.T) {
	u := units(t)
	a := ops.IgnoreAttrs{Ignore: ops.IgnoreTarget}
	out := run(t, ops.CrossEntropyOp.OpDef, a, u("ce.logits"), u("ce.labels"))
	near(t, "ce.loss", u("ce.loss").F32(), out[0].F32(), 2e-7)
	d := run(t, ops.CrossEntropyGradOp.OpDef, a, u("ce.logits"), u("ce.labels"), out[1], graph.FromF32([]float32{1}))
	near(t, "ce.dlogits", u("ce.dlogits").F32(), d[0].F32(), 5e-7)
}

// TestGoldenAdamW follows three steps of the reference optimizer: lr 0.01,
// weight decay 0.1, betas 0.9 and 0.95, eps 1e-8.
func TestGoldenAdamW(t *testing.T) {
	u := units(t)
	a := ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1}
	p := u("adamw.p0")
	m, v := graph.NewTensor(graph.F32, p.Dims...), graph.NewTensor(graph.F32, p.Dims...)
	for step, name := range []string{"1", "2", "3"} {
		n := float64(step + 1)
		hyper := graph.FromF32([]float32{0.01, 0.1, float32(1 - math.Pow(a.Beta1, n)), float32(math.Sqrt(1 - math.Pow(a.Beta2, n)))}, 4)
		out := run(t, ops.AdamWOp.OpDef, a, p, u("adamw.g"+name), m, v, hyper, graph.FromF32([]float32{1}))
		p, m, v = out[0], out[1], out[2]
		near(t, "adamw.p"+name, u("adamw.p"+name).F32(), p.F32(), 3e-7)
	}
}
