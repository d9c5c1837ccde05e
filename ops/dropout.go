package ops

import (
	"fmt"
	"math/bits"

	"github.com/trit-ml/trit/graph"
)

// DropoutAttrs says which elements are dropped: each with probability P, to the
// nearest multiple of 2⁻¹⁶, by numbers that follow from Seed and Stream. Uses in
// one graph need streams of their own.
type DropoutAttrs struct {
	P      float64
	Seed   int
	Stream int
}

// DropoutOp sets elements to zero at random and divides the others by the share
// that stays (Srivastava et al. 2014). at is [step, row]: the number of the step,
// and that of x's first row in the whole batch.
//
// The random numbers are a function of a counter, Philox4x32-10 (Salmon et al.
// 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"): they need no state, are the
// same on every device, and those of a row do not depend on how a batch is cut into
// micro-batches. Column c of row r is dropped if 16-bit word c mod 8, low half
// first, of the block with key Seed and counter (row + r, c/8, Stream, step) is
// below P·2¹⁶. The gradient is the op itself, which draws the same numbers again.
var DropoutOp = graph.Define(graph.Def[DropoutAttrs]{
	Name: "dropout", Doc: "x with elements zero at random, the others scaled up", In: "x, at", Out: "y", Exact: true,
	BF16:   "x -> y",
	Phases: graph.Declared | graph.Training,
	Infer: func(a DropoutAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in[:1], F32("x", -1)); err != nil {
			return nil, err
		}
		return one(in[0]), a.check(in[1])
	},
	Ref: func(a DropoutAttrs, in, out []graph.Tensor) error {
		d := NewDropout(a, in[1].I32())
		w, x, y := in[0].Row(), in[0].F32(), out[0].F32()
		for i := range in[0].Rows() {
			d.Row(y[i*w:(i+1)*w], x[i*w:(i+1)*w], i)
		}
		return nil
	},
	Grad: func(a DropoutAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		return []graph.Value{c.Self(a, c.DOut[0], c.In[1]), {}}, nil
	},
})

// Dropout returns x with a share a.P of its elements zero; at is i32[2].
func Dropout(x, at graph.Value, a DropoutAttrs) graph.Value { return DropoutOp.One(a, x, at) }

func (a DropoutAttrs) check(at graph.Type) error {
	if err := Check([]graph.Type{at}, I32("at", 1)); err != nil {
		return err
	}
	if at.Shape[0] != graph.C(2) {
		return fmt.Errorf("at is %s, want i32[2]", at)
	}
	if !(a.P >= 0 && a.P < 1) {
		return fmt.Errorf("p is %v, want 0 to below 1", a.P)
	}
	return nil
}

// Threshold is P·2¹⁶: 16-bit numbers below it drop.
func (a DropoutAttrs) Threshold() uint32 { return uint32(a.P*(1<<16) + 0.5) }

// Scale is what elements that stay are multiplied by.
func (a DropoutAttrs) Scale() float32 { return float32(1 / (1 - float64(a.Threshold())/(1<<16))) }

// Key is Philox' key.
func (a DropoutAttrs) Key() [2]uint32 { return [2]uint32{uint32(a.Seed), uint32(uint64(a.Seed) >> 32)} }

// DropoutRows drops the rows of one call.
type DropoutRows struct {
	key               [2]uint32
	row, stream, step uint32
	threshold         uint32
	scale             float32
}

// NewDropout prepares a call with operand at.
func NewDropout(a DropoutAttrs, at []int32) DropoutRows {
	return DropoutRows{a.Key(), uint32(at[1]), uint32(a.Stream), uint32(at[0]), a.Threshold(), a.Scale()}
}

// Row writes row i of the result; y may be x.
func (d *DropoutRows) Row(y, x []float32, i int) {
	y = y[:len(x)]
	for c := 0; c < len(x); c += 8 {
		words := Philox(d.key, [4]uint32{d.row + uint32(i), uint32(c / 8), d.stream, d.step})
		for j, v := range x[c:min(c+8, len(x))] {
			if words[j/2]>>(j%2*16)&0xffff < d.threshold {
				v = 0
			} else {
				v *= d.scale
			}
			y[c+j] = v
		}
	}
}

// Philox is Philox4x32-10: four random words for a key and a counter.
func Philox(key [2]uint32, c [4]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, c[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ key[0], lo1, hi0 ^ c[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return c
}
