package screen

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Columns are packed in blocks; the last block is filled up with code 0.
const (
	NibbleBlock = 128 // columns in 64 bytes: byte j has columns j and 64+j, low half first
	CrumbBlock  = 256 // columns in 64 bytes: bits 2c and 2c+1 of byte j have column 64c+j
)

// What bounds has for each row.
const (
	Scale  = iota // s of the row's grid
	Error4        // at least ‖w − ŵ4‖₂
	Error6        // at least ‖w − ŵ6‖₂
	Norm          // at least ‖w‖₂
	Bounds        // how many there are
)

// PlanesOp rounds each row of w to 64 levels, u in 0..63, in two planes: the
// upper four bits and the lower two. A row is then
//
//	ŵ6 = s·(u − 31.5), or with the upper bits alone ŵ4 = s·(4·⌊u/4⌋ − 30),
//
// with s = max|w|/32, and bounds has s and how far w can be from both.
var PlanesOp = graph.Define(graph.Def[graph.None]{
	Name: "screen.planes", Doc: "rows of w in 4 bits, 2 more bits, and error bounds", In: "w", Out: "nibbles, crumbs, bounds",
	Exact: true,
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.Float("w", 2)); err != nil {
			return nil, err
		}
		k, ok := in[0].Last().Const()
		if !ok {
			return nil, fmt.Errorf("w is %s, want a constant number of columns", in[0])
		}
		n, c := in[0].Shape[0], Columns(k)
		return []graph.Type{
			graph.T(graph.U8, n, graph.C(c/2)), graph.T(graph.U8, n, graph.C(c/4)), graph.T(graph.F32, n, graph.C(Bounds)),
		}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		w, err := in[0].ToF32()
		if err != nil {
			return err
		}
		k, c := in[0].Dims[1], Columns(in[0].Dims[1])
		for i := range in[0].Dims[0] {
			PackRow(w.F32()[i*k:(i+1)*k], out[0].Data[i*c/2:(i+1)*c/2], out[1].Data[i*c/4:(i+1)*c/4], out[2].F32()[i*Bounds:(i+1)*Bounds])
		}
		return nil
	},
})

// Columns is k rounded up to whole blocks.
func Columns(k int) int { return (k + CrumbBlock - 1) / CrumbBlock * CrumbBlock }

// leastScale is the smallest step of a grid; rows below it are all error.
const leastScale = 1e-30

// PackRow makes one row of the planes: nibbles has Columns(k)/2 bytes, crumbs
// Columns(k)/4, bounds Bounds elements. It allocates nothing.
func PackRow(w []float32, nibbles, crumbs []byte, bounds []float32) {
	clear(nibbles)
	clear(crumbs)
	top, square := float32(0), 0.0
	for _, v := range w {
		if v < 0 {
			v = -v
		}
		top = max(top, v)
		square += float64(v) * float64(v)
	}
	if !(square <= math.MaxFloat64) { // not all numbers: the row can never be excluded
		inf := float32(math.Inf(1))
		bounds[Scale], bounds[Error4], bounds[Error6], bounds[Norm] = 0, inf, inf, inf
		return
	}
	norm := math.Sqrt(square)
	s := top / 32
	if s < leastScale {
		bounds[Scale], bounds[Error4], bounds[Error6], bounds[Norm] = 0, up(norm), up(norm), up(norm)
		return
	}
	inv, step := 1/s, float64(s)
	var square4, square6 float64
	for from := 0; from < len(w); from += 64 {
		part := w[from:min(from+64, len(w))]
		nib, shift4 := nibbles[from/NibbleBlock*64:][:64], from/64%2*4
		crumb, shift2 := crumbs[from/CrumbBlock*64:][:64], from/64%4*2
		for j, v := range part {
			// v/s is in -32..32, give or take a rounding.
			u := min(max(int32(v*inv+64)-32, 0), 63)
			nib[j] |= byte(u>>2) << shift4
			crumb[j] |= byte(u&3) << shift2
			e6 := float64(v) - (float64(u)-31.5)*step
			e4 := float64(v) - float64(u&^3-30)*step
			square6 += e6 * e6
			square4 += e4 * e4
		}
	}
	// The differences are rounded: far less than this share of the row.
	slack := 1e-9 * norm
	bounds[Scale] = s
	bounds[Error4], bounds[Error6], bounds[Norm] = up(math.Sqrt(square4)+slack), up(math.Sqrt(square6)+slack), up(norm)
}

// up rounds to a float32 that is larger by more than all roundings of a sum of
// squares together.
func up(x float64) float32 { return float32(x * (1 + 1e-6)) }
