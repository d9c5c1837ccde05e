package screen

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// DrawWords is the width of DrawOp's operand how.
const DrawWords = 8

// Draw says how one token is drawn from a list of the likeliest. Every device draws
// the same one: random numbers are a function of a counter, and sums and powers are
// of a fixed order of float64 operations.
type Draw struct {
	Seed, Count uint64  // of the random number: Philox' key, and which number it is
	Temperature float32 // 0 takes the likeliest
	TopP        float32 // keep tokens until their probabilities reach it; 0 and 1 keep all
	MinP        float32 // drop tokens less likely than MinP times the likeliest
}

// Put writes d as DrawOp takes it, into DrawWords words.
func (d Draw) Put(w []int32) {
	w = w[:DrawWords]
	w[0], w[1] = int32(d.Seed), int32(d.Seed>>32)
	w[2], w[3] = int32(d.Count), int32(d.Count>>32)
	w[4], w[5], w[6], w[7] = word(d.Temperature), word(d.TopP), word(d.MinP), 0
}

func word(f float32) int32 { return int32(math.Float32bits(f)) }

func drawOf(w []int32) Draw {
	number := func(lo, hi int32) uint64 { return uint64(uint32(lo)) | uint64(uint32(hi))<<32 }
	float := func(w int32) float32 { return math.Float32frombits(uint32(w)) }
	return Draw{number(w[0], w[1]), number(w[2], w[3]), float(w[4]), float(w[5]), float(w[6])}
}

// domain keeps these random numbers apart from others of the same key.
const domain = 0x64726177

// Uniform is the random number, in [0, 1).
func (d Draw) Uniform() float64 {
	w := ops.Philox([2]uint32{uint32(d.Seed), uint32(d.Seed >> 32)}, [4]uint32{uint32(d.Count), uint32(d.Count >> 32), domain, 0})
	return float64((uint64(w[0])<<32|uint64(w[1]))>>11) * 0x1p-53
}

// Power is a token's probability as a share of the likeliest one's.
func (d Draw) Power(logit, top float32) float64 {
	return exp((float64(clamp(logit)) - float64(clamp(top))) / float64(d.Temperature))
}

func clamp(v float32) float32 { return min(v, math.MaxFloat32) }

// Pick returns the place of the token that is drawn, of logits that fall and are
// numbers; -1 of none. sums is scratch memory of the same length.
func (d Draw) Pick(logits []float32, sums []float64) int {
	n := len(logits)
	if n == 0 {
		return -1
	}
	if d.Temperature == 0 {
		return 0
	}
	sum := 0.0
	kept := 0 // by MinP: a beginning, as powers fall
	for i, v := range logits {
		p := d.Power(v, logits[0])
		if p >= float64(d.MinP) && kept == i {
			kept++
		}
		sum += p
		sums[i] = sum
	}
	kept = max(kept, 1)
	if d.TopP > 0 && d.TopP < 1 {
		least := float64(d.TopP) * sum
		for i, s := range sums[:kept] {
			if s >= least {
				kept = i + 1
				break
			}
		}
	}
	all := sums[kept-1]
	at := d.Uniform() * all
	for i, s := range sums[:kept] {
		if s > at || s == all { // rounding may have made at all
			return i
		}
	}
	return kept - 1
}

// Coefficients of exp: the reciprocals of factorials, ln 2 in two parts of which
// the first has few bits, and where results become too small to matter.
var factorials = [...]float64{1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1}

const (
	log2e    = 1.44269504088896338700e+00
	ln2Hi    = 6.93147180369123816490e-01
	ln2Lo    = 1.90821492927058770002e-10
	leastExp = -700
)

// exp is e to the power of x, which is not above 0, to about 1e-14 of itself. It
// rounds after every operation, so that it can be computed to the same bits
// anywhere: conversions keep the compiler from fusing operations.
func exp(x float64) float64 {
	if !(x >= leastExp) {
		return 0
	}
	n := math.RoundToEven(x * log2e)
	r := float64(x-float64(n*ln2Hi)) - float64(n*ln2Lo)
	y := factorials[0]
	for _, c := range factorials[1:] {
		y = float64(y*r) + c
	}
	return y * math.Float64frombits(uint64(int64(n)+1023)<<52)
}

// DrawOp draws a token of each row from a list of the likeliest, as ListOp makes
// it: ids and logits y, in order, places after the last with id −1. how holds a Draw
// for each row (see Draw.Put). The id is −1 where the list is empty.
var DrawOp = graph.Define(graph.Def[graph.None]{
	Name: "screen.draw", Doc: "a token of row i drawn from its list of the likeliest", In: "ids, y, how", Out: "id",
	Rowwise: []int{0, 1, 2}, Exact: true,
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		if err := ops.Check(in, ops.I32("ids", 2), ops.F32("y", 2), ops.I32("how", 2)); err != nil {
			return nil, err
		}
		rows := in[0].Shape[0]
		if n, ok := in[2].Last().Const(); !ok || n != DrawWords {
			return nil, fmt.Errorf("how is %s, want %d words a row", in[2], DrawWords)
		}
		if !in[1].Shape.Equal(in[0].Shape) {
			return nil, fmt.Errorf("ids are %s, but y is %s", in[0], in[1])
		}
		return []graph.Type{graph.T(graph.I32, rows)}, ops.EqualDim("ids", rows, "how", in[2].Shape[0])
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		n := in[0].Dims[1]
		sums := make([]float64, n)
		for i := range out[0].I32() {
			ids, y := in[0].I32()[i*n:(i+1)*n], in[1].F32()[i*n:(i+1)*n]
			m := 0
			for m < n && ids[m] >= 0 {
				m++
			}
			id := int32(-1)
			if at := drawOf(in[2].I32()[i*DrawWords:]).Pick(y[:m], sums[:m]); at >= 0 {
				id = ids[at]
			}
			out[0].I32()[i] = id
		}
		return nil
	},
})
