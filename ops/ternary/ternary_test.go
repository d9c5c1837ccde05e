package ternary_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/internal/opcheck"
	"github.com/trit-ml/trit/ops/ternary"
)

const rows = 7

func TestAllListsEveryOp(t *testing.T) { opcheck.Listed(t, ternary.All(), nil) }

func TestOps(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	w := opcheck.Normal(r, 5, 9)
	groups := ternary.ScaleAttrs{Scale: "absmean", Group: 3}
	bf16 := graph.NewTensor(graph.BF16, 5, 9)
	for i, v := range w.F32() {
		bf16.U16()[i] = graph.F32ToBF16(v)
	}
	opcheck.Run(t, ternary.All(), map[string][]opcheck.Case{
		"ternary.quantize": {
			{Attrs: ternary.AbsMean, In: []graph.Tensor{w}},
			{Name: "bf16", Attrs: ternary.AbsMean, In: []graph.Tensor{bf16}},
			{Name: "groups", Attrs: groups, In: []graph.Tensor{w}},
		},
		"ternary.slice":   {{Attrs: ternary.RowsAttrs{From: 1, To: 4}, In: []graph.Tensor{opcheck.Codes(r, graph.Tern, -1, 1, 5, 9)}}},
		"ternary.dequant": {{Attrs: graph.None{}, In: []graph.Tensor{opcheck.Codes(r, graph.Tern, -1, 1, 5, 9), graph.FromF32([]float32{0.37})}}},
		"ternary.fake": {
			{Attrs: ternary.AbsMean, In: []graph.Tensor{w}, Through: []int{0}},
			{Name: "groups", Attrs: groups, In: []graph.Tensor{w}, Through: []int{0}},
		},
		"ternary.group_matmul": {{
			Attrs: graph.None{}, Sym: rows,
			In: []graph.Tensor{opcheck.Codes(r, graph.I8, -128, 127, rows, 9), positive(opcheck.Normal(r, rows, 1)),
				opcheck.Codes(r, graph.Tern, -1, 1, 5, 9), opcheck.Normal(r, 5, 3)},
		}},
		"ternary.matmul": {{
			Attrs: graph.None{}, Sym: rows,
			In: []graph.Tensor{opcheck.Codes(r, graph.I8, -128, 127, rows, 9), opcheck.Codes(r, graph.Tern, -1, 1, 5, 9)},
		}},
	})
}

func positive(t graph.Tensor) graph.Tensor {
	for i, v := range t.F32() {
		t.F32()[i] = 1 + v*v
	}
	return t
}

// TestGroups: a group is quantized as a matrix of its own would be, and the
// product is the sum of the groups' products.
func TestGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	const m, n, k, size = 3, 4, 12, 4
	w := opcheck.Normal(r, n, k)
	for i := range w.F32() {
		w.F32()[i] *= float32(1 + i%k/size) // scales differ
	}
	attrs := ternary.ScaleAttrs{Scale: "absmean", Group: size}
	codes, gamma, fake := graph.NewTensor(graph.Tern, n, k), graph.NewTensor(graph.F32, n, k/size), graph.NewTensor(graph.F32, n, k)
	if err := errors.Join(ternary.QuantizeOp.Run(attrs, []graph.Tensor{w}, []graph.Tensor{codes, gamma}),
		ternary.FakeOp.Run(attrs, []graph.Tensor{w}, []graph.Tensor{fake})); err != nil {
		t.Fatal(err)
	}
	for g := range gamma.F32() {
		part := graph.FromF32(w.F32()[g*size:][:size], 1, size)
		c, ga := quantize(t, part)
		if ga != gamma.F32()[g] || !cmp.Equal(c.I8(), codes.I8()[g*size:][:size]) {
			t.Errorf("group %d: scale %v and codes %v, alone %v and %v", g, gamma.F32()[g], codes.I8()[g*size:][:size], ga, c.I8())
		}
		for i, v := range c.I8() {
			if f := fake.F32()[g*size+i]; f != float32(v)*ga {
				t.Errorf("group %d: %v, want %v·%v", g, f, v, ga)
			}
		}
	}
	q, s, y := opcheck.Codes(r, graph.I8, -128, 127, m, k), positive(opcheck.Normal(r, m, 1)), graph.NewTensor(graph.F32, m, n)
	if err := ternary.GroupMatMulOp.Run(graph.None{}, []graph.Tensor{q, s, codes, gamma}, []graph.Tensor{y}); err != nil {
		t.Fatal(err)
	}
	for i := range m {
		for j := range n {
			var want float64
			for l := range k {
				want += float64(q.I8()[i*k+l]) * float64(fake.F32()[j*k+l])
			}
			want /= float64(s.F32()[i])
			if got := float64(y.F32()[i*n+j]); math.Abs(got-want) > 1e-5*math.Abs(want)+1e-5 {
				t.Errorf("y[%d,%d] is %v, want %v", i, j, got, want)
			}
		}
	}
}

// TestCodeIsRoundHalfToEven compares the comparisons of Code with the definition.
func TestCodeIsRoundHalfToEven(t *testing.T) {
	inf := float32(math.Inf(1))
	vals := []float32{0, 0.25, 0.5, 1, 1.5, 2, 2.5, 1e30, math.MaxFloat32, math.SmallestNonzeroFloat32, inf}
	for _, v := range vals[:5] {
		vals = append(vals, math.Nextafter32(v, inf), math.Nextafter32(v, -inf))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		vals = append(vals, float32(r.NormFloat64()))
	}
	for _, w := range vals {
		for _, w := range []float32{w, -w} {
			for _, s := range []float32{1, 0.5, 3, 1e5} {
				want := int8(min(max(math.RoundToEven(float64(w*s)), -1), 1))
				if got := ternary.Code(w, s); got != want {
					t.Errorf("Code(%g, %g) is %d, want %d", w, s, got, want)
				}
			}
		}
	}
	if ternary.Code(float32(math.NaN()), 1) != 0 {
		t.Error("NaN has a code")
	}
}

// TestMatMulIsExact compares with a sum in int64, also for the largest sums.
func TestMatMulIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const s, k, n = 3, 6912, 4
	q := opcheck.Codes(r, graph.I8, -128, 127, s, k)
	w := opcheck.Codes(r, graph.Tern, -1, 1, n, k)
	for j := range k {
		q.I8()[j] = -128 // the first row and column reach the extreme
		w.I8()[j] = 1
	}
	out := graph.NewTensor(graph.I32, s, n)
	if err := ternary.MatMulOp.Run(graph.None{}, []graph.Tensor{q, w}, []graph.Tensor{out}); err != nil {
		t.Fatal(err)
	}
	var want []int32
	for i := range s {
		for j := range n {
			var sum int64
			for l := range k {
				sum += int64(q.I8()[i*k+l]) * int64(w.I8()[j*k+l])
			}
			want = append(want, int32(sum))
		}
	}
	if diff := cmp.Diff(want, out.I32()); diff != "" {
		t.Error(diff)
	}
	if want[0] != -128*k {
		t.Errorf("the extreme is %d", want[0])
	}
}
