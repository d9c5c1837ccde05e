package ops_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/internal/opcheck"
)

func vec(vals ...float32) graph.Tensor { return graph.FromF32(vals, len(vals)) }

func mat(cols int, vals ...float32) graph.Tensor {
	return graph.FromF32(vals, len(vals)/cols, cols)
}

// TestValues checks ops on operands small enough to compute by hand.
func TestValues(t *testing.T) {
	nan, inf, ln3 := float32(math.NaN()), float32(math.Inf(1)), math.Log(3)
	scalar := graph.FromF32([]float32{3})
	i32 := func(vals ...int32) graph.Tensor { return graph.FromI32(vals, len(vals)) }
	none := graph.None{}
	tests := []struct {
		name  string
		op    *graph.OpDef
		attrs any
		in    []graph.Tensor
		want  [][]float32
	}{
		{"add", ops.AddOp.OpDef, none, []graph.Tensor{vec(1, -2), vec(10, 20)}, [][]float32{{11, 18}}},
		{"add scalar", ops.AddOp.OpDef, none, []graph.Tensor{vec(1, -2), scalar}, [][]float32{{4, 1}}},
		{"add one element", ops.AddOp.OpDef, none, []graph.Tensor{vec(1), vec(2)}, [][]float32{{3}}},
		{"mul scalar", ops.MulOp.OpDef, none, []graph.Tensor{vec(1, -2), scalar}, [][]float32{{3, -6}}},
		{"scale rounds its factor", ops.ScaleOp.OpDef, ops.ScaleAttrs{By: 0.1}, []graph.Tensor{vec(1, 3)}, [][]float32{{0.1, float32(3) * 0.1}}},
		{"relu2", ops.ReLU2Op.OpDef, none, []graph.Tensor{vec(-2, 0, 3, inf, -inf, nan)}, [][]float32{{0, 0, 9, inf, 0, nan}}},
		{"silu", ops.SiLUOp.OpDef, none, []graph.Tensor{vec(0, 100, -1000)}, [][]float32{{0, 100, 0}}},
		{"gelu", ops.GELUOp.OpDef, none, []graph.Tensor{vec(0, 100, -100)}, [][]float32{{0, 100, 0}}},
		{"sum in double precision", ops.SumOp.OpDef, none, []graph.Tensor{vec(1e8, 1, 1, 1, 1, -1e8)}, [][]float32{{4}}},
		{"sqsum", ops.SqSumOp.OpDef, none, []graph.Tensor{vec(3, -4)}, [][]float32{{25}}},
		{"fill", ops.FillOp.OpDef, none, []graph.Tensor{scalar, vec(1, 2)}, [][]float32{{3, 3}}},
		{"embedding", ops.EmbeddingOp.OpDef, none, []graph.Tensor{mat(2, 1, 2, 3, 4), i32(1, 0, 1)}, [][]float32{{3, 4, 1, 2, 3, 4}}},
		{"embedding.grad", ops.EmbeddingGradOp.OpDef, ops.EmbeddingGradAttrs{Rows: 3}, []graph.Tensor{i32(2, 0, 2), mat(2, 1, 2, 3, 4, 5, 6)}, [][]float32{{3, 4, 0, 0, 6, 8}}},
		{"rows", ops.RowsOp.OpDef, none, []graph.Tensor{mat(2, 1, 2, 3, 4), i32(1, 1, 0)}, [][]float32{{3, 4, 3, 4, 1, 2}}},
		{"rmsnorm", ops.RMSNormOp.OpDef, ops.NormAttrs{}, []graph.Tensor{mat(2, 1, 1, -2, -2), vec(3, 5)}, [][]float32{{3, 5, -3, -5}}},
		{"rmsnorm of zeros", ops.RMSNormOp.OpDef, ops.NormAttrs{Eps: 1e-5}, []graph.Tensor{mat(2, 0, 0), vec(3, 5)}, [][]float32{{0, 0}}},
		{"softmax", ops.SoftmaxOp.OpDef, none, []graph.Tensor{mat(2, 1000, 1000, -1000, 1000)}, [][]float32{{0.5, 0.5, 0, 1}}},
		{"cross entropy", ops.CrossEntropyOp.OpDef, ops.IgnoreAttrs{Ignore: -100}, []graph.Tensor{mat(2, 0, 0, 7, 7, 1e4, -1e4), i32(1, -100, 0)}, [][]float32{{math.Ln2 / 2}, {math.Ln2, 7 + math.Ln2, 1e4}}},
		{"cross entropy of nothing", ops.CrossEntropyOp.OpDef, ops.IgnoreAttrs{Ignore: 1}, []graph.Tensor{mat(2, 0, 0), i32(1)}, [][]float32{{0}, {math.Ln2}}},
		{"cross entropy gradient of nothing", ops.CrossEntropyGradOp.OpDef, ops.IgnoreAttrs{Ignore: 1}, []graph.Tensor{mat(2, 0, 0), i32(1), vec(math.Ln2), scalar}, [][]float32{{0, 0}}},
		{"distill", ops.DistillOp.OpDef, ops.DistillAttrs{Temperature: 2, Ignore: -100}, []graph.Tensor{mat(2, 0, 0, 5, 9), mat(2, 2*float32(ln3), 0, -1, 7), i32(0, -100)}, [][]float32{{0.130812036}, {math.Ln2, float32(4.5 + math.Log1p(math.Exp(-2)))}, {2 * math.Ln2, float32(3.5 + math.Log1p(math.Exp(-4)))}}},
		{"relation", ops.RelationOp.OpDef, ops.RelationAttrs{Heads: 1}, []graph.Tensor{mat(1, 0, 0, 8), mat(1, float32(math.Sqrt(ln3)), 0, 9), i32(0, 0, 1)}, [][]float32{{0.130812036 / 3}, {math.Ln2, math.Ln2, 64}, {2 * math.Ln2, math.Ln2, 81}}},
		{"clip above", ops.ClipOp.OpDef, ops.ClipAttrs{Max: 2}, []graph.Tensor{scalar0(9), scalar0(16)}, [][]float32{{float32(2 / (5 + 1e-6))}, {5}}},
		{"clip below", ops.ClipOp.OpDef, ops.ClipAttrs{Max: 6}, []graph.Tensor{scalar0(9), scalar0(16)}, [][]float32{{1}, {5}}},
		{"clip off", ops.ClipOp.OpDef, ops.ClipAttrs{}, []graph.Tensor{scalar0(1e30)}, [][]float32{{1}, {1e15}}},
		{"clip of no gradient", ops.ClipOp.OpDef, ops.ClipAttrs{Max: 1}, nil, [][]float32{{1}, {0}}},
		{"clip shows a bad step", ops.ClipOp.OpDef, ops.ClipAttrs{Max: 1}, []graph.Tensor{scalar0(nan)}, [][]float32{{nan}, {nan}}},
		{"matmul", ops.MatMulOp.OpDef, ops.MatMulAttrs{}, []graph.Tensor{mat(2, 1, 2, 3, 4, 5, 6), mat(2, 1, 10, 100, 1000)}, [][]float32{{201, 2010, 403, 4030, 605, 6050}}},
		{"matmul tb", ops.MatMulOp.OpDef, ops.MatMulAttrs{TB: true}, []graph.Tensor{mat(2, 1, 2, 3, 4, 5, 6), mat(2, 1, 10, 100, 1000)}, [][]float32{{21, 2100, 43, 4300, 65, 6500}}},
		{"matmul ta", ops.MatMulOp.OpDef, ops.MatMulAttrs{TA: true}, []graph.Tensor{mat(3, 1, 2, 3, 4, 5, 6), mat(2, 1, 10, 100, 1000)}, [][]float32{{401, 4010, 502, 5020, 603, 6030}}},
		{"matmul ta tb", ops.MatMulOp.OpDef, ops.MatMulAttrs{TA: true, TB: true}, []graph.Tensor{mat(3, 1, 2, 3, 4, 5, 6), mat(2, 1, 10, 100, 1000)}, [][]float32{{41, 4100, 52, 5200, 63, 6300}}},
		{"rope, a quarter turn", ops.RoPEOp.OpDef, ops.RoPEAttrs{Theta: 1, HeadDim: 2}, []graph.Tensor{mat(4, 1, 0, 0, 1, 1, 2, 3, 4), i32(0, 0)}, [][]float32{{1, 0, 0, 1, 1, 2, 3, 4}}},
		{"quant.fake", ops.FakeQuantOp.OpDef, ops.QuantAttrs{Bits: 4, Round: "even"}, []graph.Tensor{mat(4, 7, 0.5, 1.5, -2.5)}, [][]float32{{7, 0, 2, -2}}},
		{"ema", ops.EMAOp.OpDef, ops.EMAAttrs{Decay: 0.75}, []graph.Tensor{vec(1, -4), vec(3, -4)}, [][]float32{{1.5, -4}}},
		{"quant.blend", ops.BlendOp.OpDef, none, []graph.Tensor{vec(1, -4), vec(3, 0), scalar0(0.25)}, [][]float32{{1.5, -3}}},
		{"quant.blend is exact at its ends", ops.BlendOp.OpDef, none, []graph.Tensor{vec(1e-8, 1), vec(1e8, nan), scalar0(0)}, [][]float32{{1e-8, 1}}},
		{"quant.blend is exact at its ends too", ops.BlendOp.OpDef, none, []graph.Tensor{vec(1e8, nan), vec(1e-8, 1), scalar0(1)}, [][]float32{{1e-8, 1}}},
		{"cast", ops.CastOp.OpDef, ops.CastAttrs{To: "f32"}, []graph.Tensor{cast(vec(1, -0.333), graph.BF16)}, [][]float32{{1, -0.33203125}}},
	}
	for _, tt := range tests {
		var got [][]float32
		for _, x := range run(t, tt.op, tt.attrs, tt.in...) {
			got = append(got, x.F32())
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func scalar0(v float32) graph.Tensor { return graph.FromF32([]float32{v}) }

// TestRoPEIsARotation checks angles against the definition in f64 and that the
// inverse undoes the rotation.
func TestRoPEIsARotation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 6))
	a := ops.RoPEAttrs{Theta: 1e4, HeadDim: 6}
	x := opcheck.Normal(r, 4, 12)
	pos := graph.FromI32([]int32{0, 1, 17, 300}, 4)
	y := run(t, ops.RoPEOp.OpDef, a, x, pos)[0]
	var want []float32
	for tok, p := range pos.I32() {
		for c := range 12 {
			i := c % 3 // the pair's index inside its head
			angle := float64(p) * math.Pow(1e4, -2*float64(i)/6)
			cos, sin := math.Cos(angle), math.Sin(angle)
			u := float64(x.F32()[tok*12+c])
			if c%6 < 3 {
				want = append(want, float32(u*cos-float64(x.F32()[tok*12+c+3])*sin))
			} else {
				want = append(want, float32(u*cos+float64(x.F32()[tok*12+c-3])*sin))
			}
		}
	}
	near(t, "rope", want, y.F32(), 2e-5)
	a.Inverse = true
	near(t, "inverse", x.F32(), run(t, ops.RoPEOp.OpDef, a, y, pos)[0].F32(), 2e-7)
}

// TestActivationCodes checks the quantizer's bounds on random rows: codes are
// symmetric, the largest element gets ±127, and dequantized values are within
// half a step.
func TestActivationCodes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 50 {
		d := 1 + r.IntN(40)
		x := opcheck.Normal(r, 3, d)
		scale := float32(math.Exp2(float64(r.IntN(60) - 16)))
		for i := range x.F32() {
			x.F32()[i] *= scale
		}
		out := run(t, ops.QuantActOp.OpDef, ops.Int8, x)
		fake := run(t, ops.FakeQuantOp.OpDef, ops.Int8, x)[0]
		for i := range 3 {
			s := out[1].F32()[i]
			top := int8(0)
			for j := i * d; j < (i+1)*d; j++ {
				q := out[0].I8()[j]
				top = max(top, max(q, -q))
				if q == -128 {
					t.Fatalf("code -128 for %g in a row of %v", x.F32()[j], x.F32()[i*d:(i+1)*d])
				}
				if f := float32(q) / s; f != fake.F32()[j] {
					t.Fatalf("quant.fake gives %g, code %d means %g", fake.F32()[j], q, f)
				}
				if e := math.Abs(float64(x.F32()[j])*float64(s) - float64(q)); e > 0.5+1e-4 {
					t.Fatalf("code %d for %g", q, float64(x.F32()[j])*float64(s))
				}
			}
			if top != 127 {
				t.Errorf("the largest code of a row is %d", top)
			}
		}
	}
}

func TestActivationCodesOfOddRows(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, tt := range []struct {
		row   []float32
		codes []int8
	}{
		{[]float32{0, 0}, []int8{0, 0}},
		{[]float32{1e-30, -1e-30}, []int8{0, 0}},
		{[]float32{1e-5, -1e-5, 5e-6}, []int8{127, -127, 64}},
		{[]float32{127, 0.5, 1.5, -0.5, -1.5, 126.5}, []int8{127, 0, 2, 0, -2, 126}},
		{[]float32{math.MaxFloat32, 1}, []int8{127, 0}},
		// An infinite or undefined row has no scale; its codes are zero on
		// every machine.
		{[]float32{inf, 1}, []int8{0, 0}},
		{[]float32{float32(math.NaN()), 1}, []int8{0, 0}},
	} {
		got := run(t, ops.QuantActOp.OpDef, ops.Int8, mat(len(tt.row), tt.row...))[0].I8()
		if diff := cmp.Diff(tt.codes, got); diff != "" {
			t.Errorf("%v: %s", tt.row, diff)
		}
	}
}

// TestTypeRulesSayWhatTheyWant checks the messages that a model's author sees.
func TestTypeRulesSayWhatTheyWant(t *testing.T) {
	f32 := func(dims ...int) graph.Type { return graph.T(graph.F32, graph.Dims(dims...)...) }
	i32 := func(dims ...int) graph.Type { return graph.T(graph.I32, graph.Dims(dims...)...) }
	att := func(h, kv int) ops.AttentionAttrs { return ops.AttentionAttrs{Heads: h, KVHeads: kv} }
	cache := f32(2, 4, 6)
	tests := []struct {
		op    *graph.OpDef
		attrs any
		in    []graph.Type
		want  string
	}{
		{ops.AddOp.OpDef, graph.None{}, []graph.Type{f32(2), f32(3)}, "a is f32[2] but b is f32[3]; the shapes must be equal, or b a scalar"},
		{ops.AddOp.OpDef, graph.None{}, []graph.Type{f32(), f32(3)}, "a is f32[] but b is f32[3]"},
		{ops.MatMulOp.OpDef, ops.MatMulAttrs{TB: true}, []graph.Type{f32(2, 3), f32(3, 4)}, "inner dimensions differ: a gives 3, b transposed gives 4"},
		{ops.MatMulOp.OpDef, ops.MatMulAttrs{}, []graph.Type{f32(2), f32(3, 4)}, "a is f32[2], want rank 2"},
		{ops.RMSNormOp.OpDef, ops.NormAttrs{}, []graph.Type{f32(2, 3), f32(4)}, "a row of x has 3 but g has 4; they must be equal"},
		{ops.RoPEOp.OpDef, ops.RoPEAttrs{HeadDim: 4}, []graph.Type{f32(2, 6), i32(2)}, "not a whole number of heads of 4"},
		{ops.RoPEOp.OpDef, ops.RoPEAttrs{HeadDim: -2}, []graph.Type{f32(2, 6), i32(2)}, "head_dim -2 is not a positive even number"},
		{ops.RoPEOp.OpDef, ops.RoPEAttrs{HeadDim: 2}, []graph.Type{f32(2, 6), i32(3)}, "x has 2 but pos has 3"},
		{ops.AttentionOp.OpDef, att(4, 3), []graph.Type{f32(2, 8), f32(2, 6), f32(2, 6), i32(2), i32(2)}, "heads 4 is not a multiple of kv_heads 3"},
		{ops.AttentionOp.OpDef, att(0, 0), []graph.Type{f32(2, 8), f32(2, 6), f32(2, 6), i32(2), i32(2)}, "heads 0 is not a multiple of kv_heads 0"},
		{ops.AttentionOp.OpDef, att(3, 1), []graph.Type{f32(2, 8), f32(2, 6), f32(2, 6), i32(2), i32(2)}, "not a whole number of 3 heads"},
		{ops.AttentionOp.OpDef, att(4, 2), []graph.Type{f32(2, 8), f32(2, 4), f32(2, 8), i32(2), i32(2)}, "v is f32[2,8], want f32[2,4]"},
		{ops.AttentionOp.OpDef, att(4, 2), []graph.Type{f32(2, 8), f32(3, 4), f32(3, 4), i32(2), i32(2)}, "k is f32[3,4], want f32[2,4]"},
		{ops.AttentionOp.OpDef, att(4, 2), []graph.Type{f32(2, 8), f32(2, 4), f32(2, 4), i32(2), i32(1)}, "q has 2 but pos has 1"},
		{ops.CachedAttentionOp.OpDef, att(2, 1), []graph.Type{f32(2, 8), cache, cache, i32(2), i32(2), i32(1, 2)}, "want both with rows of 4"},
		{ops.KVAppendOp.OpDef, graph.None{}, []graph.Type{cache, f32(2, 4, 7), f32(1, 6), f32(1, 6), i32(1), i32(1), i32(1, 2)}, "differ in type"},
		{ops.KVAppendOp.OpDef, graph.None{}, []graph.Type{cache, cache, f32(1, 5), f32(1, 5), i32(1), i32(1), i32(1, 2)}, "a cache row has 6 but a row of k has 5"},
		{ops.CrossEntropyOp.OpDef, ops.IgnoreAttrs{}, []graph.Type{f32(2, 8), i32(3)}, "logits has 2 but targets has 3"},
		{ops.DistillOp.OpDef, ops.DistillAttrs{}, []graph.Type{f32(2, 8), f32(2, 8), i32(2)}, "temperature is 0, want above 0"},
		{ops.DistillOp.OpDef, ops.DistillAttrs{Temperature: 1}, []graph.Type{f32(2, 8), f32(2, 9), i32(2)}, "the shapes must be equal"},
		{ops.RelationOp.OpDef, ops.RelationAttrs{Heads: 3}, []graph.Type{f32(2, 6), f32(2, 8), i32(2)}, "teacher is f32[2,8], not a whole number of 3 relation heads"},
		{ops.AdamWOp.OpDef, ops.AdamWAttrs{}, []graph.Type{f32(2), f32(2), f32(3), f32(2), f32(4), f32()}, "p is f32[2] but m is f32[3]"},
		{ops.AdamWOp.OpDef, ops.AdamWAttrs{}, []graph.Type{f32(2), f32(2), f32(2), f32(2), f32(3), f32()}, "hyper is f32[3], want f32[4]"},
		{ops.AdamWOp.OpDef, ops.AdamWAttrs{Parts: 2}, []graph.Type{f32(5), f32(2), f32(2), f32(2), f32(4), f32()}, "g is f32[2], want a part of p, f32[3]"},
		{ops.AdamWOp.OpDef, ops.AdamWAttrs{Part: 2, Parts: 2}, []graph.Type{f32(5), f32(3), f32(3), f32(3), f32(4), f32()}, "part 2 of 2"},
		{ops.AccumulateOp.OpDef, graph.None{}, []graph.Type{f32(2), f32(3), f32()}, "acc is f32[2] but x is f32[3]"},
		{ops.CastOp.OpDef, ops.CastAttrs{To: "i8"}, []graph.Type{f32(2)}, "cannot cast to i8"},
		{ops.CastOp.OpDef, ops.CastAttrs{To: "f8"}, []graph.Type{f32(2)}, `unknown element type "f8"`},
		{ops.QuantActOp.OpDef, ops.QuantAttrs{}, []graph.Type{f32(2, 2)}, "bits is 0, want 8 or 4"},
		{ops.QuantActOp.OpDef, ops.QuantAttrs{Bits: 8, Round: "away"}, []graph.Type{f32(2, 2)}, `round is "away", want even`},
		{ops.FakeQuantOp.OpDef, ops.QuantAttrs{Bits: 16}, []graph.Type{f32(2, 2)}, "bits is 16"},
		{ops.EmbeddingGradOp.OpDef, ops.EmbeddingGradAttrs{Rows: 2}, []graph.Type{i32(2), f32(3, 2)}, "ids has 2 but dy has 3"},
		{ops.SoftmaxGradOp.OpDef, graph.None{}, []graph.Type{f32(2), f32(3)}, "the shapes must be equal"},
	}
	for _, tt := range tests {
		if _, err := tt.op.InferTypes(tt.attrs, tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.op.Name, err, tt.want)
		}
	}
}

// TestBadIndicesAreErrors feeds indices outside of tables.
func TestBadIndicesAreErrors(t *testing.T) {
	x := graph.NewTensor(graph.F32, 2, 3)
	for _, bad := range []int32{-1, 3, math.MaxInt32, math.MinInt32} {
		id := graph.FromI32([]int32{bad}, 1)
		lse, loss := graph.NewTensor(graph.F32, 1), graph.NewTensor(graph.F32)
		row := graph.NewTensor(graph.F32, 1, 3)
		for name, err := range map[string]error{
			"embedding":          ops.EmbeddingOp.Run(graph.None{}, []graph.Tensor{x, id}, []graph.Tensor{row}),
			"rows":               ops.RowsOp.Run(graph.None{}, []graph.Tensor{x, id}, []graph.Tensor{row}),
			"embedding.grad":     ops.EmbeddingGradOp.Run(ops.EmbeddingGradAttrs{Rows: 2}, []graph.Tensor{id, row}, []graph.Tensor{x.Clone()}),
			"cross_entropy":      ops.CrossEntropyOp.Run(ops.IgnoreAttrs{Ignore: -100}, []graph.Tensor{row, id}, []graph.Tensor{loss, lse}),
			"cross_entropy.grad": ops.CrossEntropyGradOp.Run(ops.IgnoreAttrs{Ignore: -100}, []graph.Tensor{row, id, lse, loss}, []graph.Tensor{row.Clone()}),
		} {
			if err == nil || !strings.Contains(err.Error(), " at 0 ") {
				t.Errorf("%s of index %d: %v", name, bad, err)
			}
		}
	}
}

// TestSecondResultsAreNotDifferentiable checks that a loss built on a
// log-sum-exp is refused rather than differentiated wrongly.
func TestSecondResultsAreNotDifferentiable(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Param("x", graph.F32, 3, 4)
	i := b.Input("i", graph.I32, graph.C(3))
	y := b.Param("y", graph.F32, 3, 4)
	for _, lse := range []graph.Value{
		ops.DistillOp.Emit(ops.DistillAttrs{Temperature: 1}, x, y, i)[1],
		ops.RelationOp.Emit(ops.RelationAttrs{Heads: 1}, x, y, i)[1],
		ops.AttentionOp.Emit(ops.AttentionAttrs{Heads: 2, KVHeads: 2}, x, x, x, i, i)[1],
		ops.CrossEntropyOp.Emit(ops.IgnoreAttrs{}, x, i)[1],
	} {
		_, err := graph.Gradients(b, ops.Sum(lse), []graph.Value{x}, ops.Add)
		if err == nil || !strings.Contains(err.Error(), "log-sum-exp result") {
			t.Errorf("got %v", err)
		}
	}
}

// TestAdamWFactors checks the parts that the golden steps leave at one: a
// parameter that does not decay, and the clipping factor.
func TestAdamWFactors(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	p, g, m, v := opcheck.Normal(r, 5), opcheck.Normal(r, 5), opcheck.Normal(r, 5), positive(opcheck.Normal(r, 5))
	a := ops.AdamWAttrs{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1}
	hyper := func(decay float32) graph.Tensor { return vec(0.25, decay, 0.1, 0.5) }
	step := func(a ops.AdamWAttrs, g, hyper graph.Tensor, factor float32) []graph.Tensor {
		return run(t, ops.AdamWOp.OpDef, a, p, g, m, v, hyper, scalar0(factor))
	}
	still := a
	still.Decay = 0
	if diff := cmp.Diff(step(a, g, hyper(0), 1), step(still, g, hyper(0.5), 1)); diff != "" {
		t.Errorf("a parameter without decay decays: %s", diff)
	}
	halved := g.Clone()
	for i := range halved.F32() {
		halved.F32()[i] /= 2
	}
	if diff := cmp.Diff(step(a, halved, hyper(0.5), 1), step(a, g, hyper(0.5), 0.5)); diff != "" {
		t.Errorf("the factor is not the gradient's: %s", diff)
	}
	var want []float32
	for i := range 5 {
		g, m, v := float64(g.F32()[i]), float64(m.F32()[i]), float64(v.F32()[i])
		m, v = 0.9*m+0.1*g, 0.95*v+0.05*g*g
		want = append(want, float32(float64(p.F32()[i])*(1-0.25*0.5)-0.25*(m/0.1)/(math.Sqrt(v)/0.5+1e-8)))
	}
	near(t, "p", want, step(a, g, hyper(0.5), 1)[0].F32(), 3e-7)
}
