package screen_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/internal/opcheck"
	"github.com/trit-ml/trit/ops/screen"
)

func TestAllListsEveryOp(t *testing.T) { opcheck.Listed(t, screen.All(), nil) }

func TestOps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	none := graph.None{}
	w := opcheck.Normal(r, 5, 300)
	keep := graph.FromI32([]int32{1, 0, 2, 5, 9, 3, -1}, 7)
	// TopOp's body ignores its planes, whatever they are; the conformance suite has it.
	ids, how := graph.FromI32([]int32{4, 2, -1, 7, 0, 1}, 2, 3), graph.NewTensor(graph.I32, 2, screen.DrawWords)
	for i := range 2 {
		screen.Draw{Seed: 5, Temperature: 1}.Put(how.I32()[i*screen.DrawWords:])
	}
	opcheck.Run(t, []*graph.OpDef{screen.KeepOp.OpDef, screen.ListOp.OpDef, screen.PlanesOp.OpDef, screen.DrawOp.OpDef}, map[string][]opcheck.Case{
		"screen.keep":   {{Attrs: none, In: []graph.Tensor{opcheck.Normal(r, 7, 6), keep}, Sym: 7}},
		"screen.list":   {{Attrs: screen.ListAttrs{Most: 4}, In: []graph.Tensor{opcheck.Normal(r, 7, 6), keep}, Sym: 7}},
		"screen.draw":   {{Attrs: none, In: []graph.Tensor{ids, graph.FromF32([]float32{3, 2, 0, 5, 5, 4}, 2, 3), how}}},
		"screen.planes": {{Attrs: none, In: []graph.Tensor{w}}},
	})
}

func TestKeepByHand(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		k       int32
		x, want []float32
	}{
		{1, []float32{1, 3, 3, 2}, []float32{-inf, 3, 3, -inf}},
		{2, []float32{1, 3, nan, 2}, []float32{-inf, 3, -inf, 2}},
		{3, []float32{1, 3, nan, 2}, []float32{1, 3, -inf, 2}},
		{0, []float32{1, nan, -inf, inf}, []float32{1, -inf, -inf, inf}},
		{1, []float32{nan, nan, nan, -inf}, []float32{-inf, -inf, -inf, -inf}},
		{9, []float32{4, 1, 2, 3}, []float32{4, 1, 2, 3}},
	} {
		y := graph.NewTensor(graph.F32, 1, 4)
		if err := screen.KeepOp.Run(graph.None{}, []graph.Tensor{graph.FromF32(c.x, 1, 4), graph.FromI32([]int32{c.k}, 1)}, []graph.Tensor{y}); err != nil {
			t.Fatal(err)
		}
		for i, v := range y.F32() {
			if v != c.want[i] {
				t.Errorf("the %d largest of %v: %v, want %v", c.k, c.x, y.F32(), c.want)
				break
			}
		}
	}
}

func TestListByHand(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		k    int32
		x    []float32
		want []int32
	}{
		{1, []float32{1, 3, 3, 2}, []int32{1, -1, -1}},
		{2, []float32{1, 3, 3, 2}, []int32{1, 2, -1}},
		{0, []float32{1, 3, nan, 3}, []int32{1, 3, 0}},
		{9, []float32{-inf, 3, inf, nan}, []int32{2, 1, -1}},
		{3, []float32{nan, nan, nan, -inf}, []int32{-1, -1, -1}},
	} {
		out := []graph.Tensor{graph.NewTensor(graph.I32, 1, 3), graph.NewTensor(graph.F32, 1, 3)}
		if err := screen.ListOp.Run(screen.ListAttrs{Most: 3}, []graph.Tensor{graph.FromF32(c.x, 1, 4), graph.FromI32([]int32{c.k}, 1)}, out); err != nil {
			t.Fatal(err)
		}
		for i, id := range out[0].I32() {
			v := -inf
			if id >= 0 {
				v = c.x[id]
			}
			if id != c.want[i] || out[1].F32()[i] != v {
				t.Errorf("the %d largest of %v: %v %v, want %v", c.k, c.x, out[0].I32(), out[1].F32(), c.want)
				break
			}
		}
	}
}

// TestBoundsHold rebuilds rows from their planes.
func TestBoundsHold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		k := 1 + r.IntN(600)
		w := make([]float32, k)
		size := math.Ldexp(1, r.IntN(120)-60)
		for i := range w {
			v := r.NormFloat64() * size
			switch r.IntN(20) {
			case 0:
				v *= 30 // an outlier
			case 1:
				v = 0
			}
			w[i] = float32(v)
		}
		c := screen.Columns(k)
		// The third row of the second group, of seven rows.
		nib, crumb, bounds := make([]byte, 8*c/2), make([]byte, 8*c/4), make([]float32, 7*screen.Bounds)
		screen.Pack(nib, crumb, bounds, 4, 7, k, func(int) []float32 { return w })
		nib, crumb, bounds = nib[4*c/2:], crumb[4*c/4:], bounds[6*screen.Bounds:]
		var e4, e6, norm float64
		s := float64(bounds[screen.Scale])
		for i, v := range w {
			hi := nib[i/128*256+128+i%64] >> (i / 64 % 2 * 4) & 15
			lo := crumb[i/256*256+128+i%64] >> (i / 64 % 4 * 2) & 3
			d4 := float64(v) - s*float64(4*int(hi)-30)
			d6 := float64(v) - s*(float64(4*int(hi)+int(lo))-31.5)
			if s > 0 && math.Abs(d6) > 0.5001*s {
				t.Fatalf("weight %v is coded %v away on a grid of %v", v, d6, s)
			}
			e4, e6, norm = e4+d4*d4, e6+d6*d6, norm+float64(v)*float64(v)
		}
		for i, sum := range map[int]float64{screen.Error4: e4, screen.Error6: e6, screen.Norm: norm} {
			if b, got := math.Sqrt(sum), float64(bounds[i]); got < b || got > b*1.0001+2e-6*math.Sqrt(norm)+1e-30 {
				t.Errorf("bound %d is %v, the error %v", i, got, b)
			}
		}
	}
}
