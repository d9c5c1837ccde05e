package screen

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Columns are packed in blocks of 64 bytes; the last block is filled up with code
// 0, and so are rows to whole groups. A group has the first blocks of its rows,
// then their second ones, and so on: one stretch of memory for all that are
// multiplied together.
const (
	NibbleBlock = 128 // columns: byte j has columns j and 64+j, low half first
	CrumbBlock  = 256 // columns: bits 2c and 2c+1 of byte j have column 64c+j
	Group       = 4   // rows
	groupBlock  = 64 * Group
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
		n, fixed := in[0].Shape[0].Const()
		k, ok := in[0].Last().Const()
		if !ok || !fixed {
			return nil, fmt.Errorf("w is %s, want constant extents", in[0])
		}
		rows, c := graph.C(Rows(n)), Columns(k)
		return []graph.Type{
			graph.T(graph.U8, rows, graph.C(c/2)), graph.T(graph.U8, rows, graph.C(c/4)), graph.T(graph.F32, graph.C(n), graph.C(Bounds)),
		}, nil
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		w, err := in[0].ToF32()
		if err != nil {
			return err
		}
		n, k := in[0].Dims[0], in[0].Dims[1]
		for from := 0; from < n; from += Group {
			Pack(out[0].Data, out[1].Data, out[2].F32(), from, n, k, func(i int) []float32 { return w.F32()[i*k : (i+1)*k] })
		}
		return nil
	},
})

// Columns is k rounded up to whole blocks, Rows n to whole groups.
func Columns(k int) int { return (k + CrumbBlock - 1) / CrumbBlock * CrumbBlock }

// Rows is n rounded up to whole groups.
func Rows(n int) int { return (n + Group - 1) / Group * Group }

// Pack makes the group of rows from on, a multiple of Group, of the planes of a
// matrix [n,k]. row returns the elements of a row until it is called again.
func Pack(nibbles, crumbs []byte, bounds []float32, from, n, k int, row func(i int) []float32) {
	c := Columns(k)
	nibbles, crumbs = nibbles[from*c/2:(from+Group)*c/2], crumbs[from*c/4:(from+Group)*c/4]
	clear(nibbles)
	clear(crumbs)
	for i := from; i < min(n, from+Group); i++ {
		at := 64 * (i - from)
		if k > 0 {
			packRow(row(i), nibbles[at:], crumbs[at:], bounds[i*Bounds:(i+1)*Bounds])
		} else {
			clear(bounds[i*Bounds : (i+1)*Bounds])
		}
	}
}

// leastScale is the smallest step of a grid; rows below it are all error.
const leastScale = 1e-30

// packRow makes one row, whose blocks are groupBlock apart, where zeros are. It
// allocates nothing.
func packRow(w []float32, nibbles, crumbs []byte, bounds []float32) {
	most, square := uint32(0), 0.0
	for _, v := range w {
		// Without the sign, the bits of floats are in the order of the floats.
		if b := math.Float32bits(v) &^ (1 << 31); b > most {
			most = b
		}
		square += float64(v) * float64(v)
	}
	if !(square <= math.MaxFloat64) { // not all numbers: the row can never be excluded
		inf := float32(math.Inf(1))
		bounds[Scale], bounds[Error4], bounds[Error6], bounds[Norm] = 0, inf, inf, inf
		return
	}
	norm := math.Sqrt(square)
	s := math.Float32frombits(most) / 32
	if s < leastScale {
		bounds[Scale], bounds[Error4], bounds[Error6], bounds[Norm] = 0, up(norm), up(norm), up(norm)
		return
	}
	// Errors are counted in steps, in four chains: float32 is enough, because slack
	// and up below are larger than what it rounds.
	inv := 1 / s
	var sum4, sum6 [4]float32
	from := 0
	for ; from+CrumbBlock <= len(w); from += CrumbBlock {
		x := (*[CrumbBlock]float32)(w[from:])
		at := from / NibbleBlock * groupBlock
		low, high := (*[64]byte)(nibbles[at:]), (*[64]byte)(nibbles[at+groupBlock:])
		crumb := (*[64]byte)(crumbs[from/CrumbBlock*groupBlock:])
		for j := range 64 {
			a, a4, a6 := level(x[j] * inv)
			b, b4, b6 := level(x[64+j] * inv)
			c, c4, c6 := level(x[128+j] * inv)
			d, d4, d6 := level(x[192+j] * inv)
			low[j], high[j] = byte(a>>2|b>>2<<4), byte(c>>2|d>>2<<4)
			crumb[j] = byte(a&3 | b&3<<2 | c&3<<4 | d&3<<6)
			sum4[0], sum4[1], sum4[2], sum4[3] = sum4[0]+a4, sum4[1]+b4, sum4[2]+c4, sum4[3]+d4
			sum6[0], sum6[1], sum6[2], sum6[3] = sum6[0]+a6, sum6[1]+b6, sum6[2]+c6, sum6[3]+d6
		}
	}
	for ; from < len(w); from++ {
		u, e4, e6 := level(w[from] * inv)
		j := from % 64
		nibbles[from/NibbleBlock*groupBlock+j] |= byte(u >> 2 << (from / 64 % 2 * 4))
		crumbs[from/CrumbBlock*groupBlock+j] |= byte(u & 3 << (from / 64 % 4 * 2))
		sum4[0] += e4
		sum6[0] += e6
	}
	total := func(sums [4]float32) float64 {
		sum := 0.0
		for _, v := range sums {
			sum += float64(v)
		}
		return float64(s)*math.Sqrt(sum)*(1+float64(len(w)+8)/(1<<24)) + 1e-6*norm
	}
	bounds[Scale] = s
	bounds[Error4], bounds[Error6], bounds[Norm] = up(total(sum4)), up(total(sum6)), up(norm)
}

// level is the code of a weight v given in steps, -32..32, and its squared errors
// in 4 and in 6 bits.
func level(v float32) (u int32, e4, e6 float32) {
	u = min(max(int32(v+64)-32, 0), 63)
	d := v + 31.5 - float32(u)
	e := d + float32(u&3) - 1.5
	return u, e * e, d * d
}

// up rounds to a float32 that is larger by more than all roundings of a sum of
// squares together.
func up(x float64) float32 { return float32(x * (1 + 1e-6)) }
