//go:build cuda

package cuda

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// A productShape is a product of m tokens on so many multiprocessors; 0 are those
// that there are.
type productShape struct{ m, n, k, processors int }

// TestWideProducts is for products on warpgroup instructions, on a device that has too
// few multiprocessors for all tiles, and on one that has so many that blocks share a tile.
func TestWideProducts(t *testing.T) {
	sameAsLinear(t, ".wgmma", productShape{150, 300, 272, 2}, productShape{70, 130, 1040, 0})
}

// TestOneToken is for products of one token: blocks that have rows of two matrices, too
// many rows for one block, rows that are not whole quads of units, and the longest.
func TestOneToken(t *testing.T) {
	sameAsLinear(t, ".gemv", productShape{1, 100, 2560, 3}, productShape{1, 70, 320, 2}, productShape{1, 130, 64, 1},
		productShape{1, 40, 6912, 1}, productShape{1, 57, 8192, 4}, productShape{1, 5, 1024, 0})
}

// sameAsLinear compares kernels whose names have a part with those of linear.cu.
func sameAsLinear(t *testing.T, part string, shapes ...productShape) {
	r := newRig(t)
	if !r.d.Has(sm90a) {
		t.Skip("no such kernels: they need sm_90a")
	}
	rng := rand.New(rand.NewPCG(11, 12))
	have := r.d.info.Multiprocessors
	defer func() { r.d.info.Multiprocessors = have }()
	norm := bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}
	for _, z := range shapes {
		codes, trits := graph.NewTensor(graph.I8, z.m, z.k), func() graph.Tensor {
			w := graph.NewTensor(graph.Tern, z.n, z.k)
			for i := range w.I8() {
				w.I8()[i] = int8(rng.IntN(3) - 1)
			}
			return w
		}
		for i := range codes.I8() {
			codes.I8()[i] = int8(rng.Uint32())
		}
		floats := func(dims ...int) graph.Tensor {
			x := graph.NewTensor(graph.F32, dims...)
			for i := range x.F32() {
				x.F32()[i] = 0.5 + rng.Float32()
			}
			return x
		}
		scale := func() graph.Tensor { return graph.FromF32([]float32{0.5 + rng.Float32()}) }
		for _, c := range []struct {
			op    *graph.OpDef
			attrs any
			in    []graph.Tensor
		}{
			{bitlinear.IntLinear3Op.OpDef, graph.None{}, []graph.Tensor{codes, floats(z.m, 1), trits(), scale(), trits(), scale(), trits(), scale()}},
			{bitlinear.LinearAddOp.OpDef, graph.None{}, []graph.Tensor{codes, floats(z.m, 1), trits(), scale(), floats(z.m, z.n)}},
			{bitlinear.NormGLUOp.OpDef, norm, []graph.Tensor{floats(z.m, z.k), floats(z.k), trits(), scale(), trits(), scale()}},
			{bitlinear.NormLinear3Op.OpDef, norm, []graph.Tensor{floats(z.m, z.k), floats(z.k), trits(), scale(), trits(), scale(), trits(), scale()}},
			{bitlinear.NormLinearAddOp.OpDef, norm, []graph.Tensor{floats(z.m, z.k), floats(z.k), trits(), scale(), floats(z.m, z.n)}},
		} {
			plain := ".i2x64.mma"
			if z.m > normTokens && c.op == bitlinear.NormGLUOp.OpDef {
				plain = ".i2x64.codes"
			} else if z.m > normTokens && c.attrs == norm {
				continue // made of products alone
			}
			var want []graph.Tensor
			r.d.info.Multiprocessors = have
			for _, k := range r.d.Kernels() {
				if k.Op == c.op && strings.HasSuffix(k.Name, plain) {
					want = r.run(k, c.attrs, c.in)
				}
			}
			if z.processors > 0 {
				r.d.info.Multiprocessors = z.processors
			}
			for _, k := range r.d.Kernels() {
				if k.Op != c.op || !strings.Contains(k.Name, part) {
					continue
				}
				for i, got := range r.run(k, c.attrs, c.in) {
					for j, g := range got.F32() {
						if w := want[i].F32()[j]; g != w {
							t.Fatalf("%s at %v, output %d: row %d, column %d is %v, want %v", k.Name, z, i, j/z.n, j%z.n, g, w)
						}
					}
				}
			}
		}
	}
}
