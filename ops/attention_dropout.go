package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// AttentionDropoutAttrs are those of attention and of dropout.
type AttentionDropoutAttrs struct {
	Heads   int
	KVHeads int `ir:"kv_heads"`
	Window  int
	P       float64
	Seed    int
	Stream  int
}

// Attention are the attributes of the attention.
func (a AttentionDropoutAttrs) Attention() AttentionAttrs {
	return AttentionAttrs{Heads: a.Heads, KVHeads: a.KVHeads, Window: a.Window}
}

// Dropout are the attributes of the dropout.
func (a AttentionDropoutAttrs) Dropout() DropoutAttrs {
	return DropoutAttrs{P: a.P, Seed: a.Seed, Stream: a.Stream}
}

// mostStreams keeps the streams of heads apart from each other and from those of
// DropoutOp.
const mostStreams = 1 << 16

func (a AttentionDropoutAttrs) check(in []graph.Type) error {
	n := len(in)
	if n < 6 {
		return fmt.Errorf("%d operands", n)
	}
	if err := a.Attention().checkTokens([]graph.Type{in[0], in[1], in[2], in[n-2], in[n-1]}); err != nil {
		return err
	}
	if err := a.Dropout().check(in[n-3]); err != nil {
		return err
	}
	if a.Stream < 0 || a.Stream >= mostStreams || a.Heads >= mostStreams {
		return fmt.Errorf("stream %d and %d heads, want less than %d of both", a.Stream, a.Heads, mostStreams)
	}
	return nil
}

// AttentionDropoutOp is AttentionOp that drops probabilities: with f 0 where one is
// dropped and the scale of DropoutOp elsewhere, o_i = Σ_j f_ij p_ij v_j. The
// log-sum-exp is that of all scores. at is [step, row], as for DropoutOp.
//
// The probability of head h that token i gives token j is dropped if 16-bit word
// (row+j) mod 8 of Philox' block with key Seed and counter
// (row+i, (row+j)/8, Stream + 2¹⁶(h+1), step) is below P·2¹⁶.
var AttentionDropoutOp = graph.Define(graph.Def[AttentionDropoutAttrs]{
	Name: "attention.dropout", Doc: "attention whose probabilities are dropped at random",
	In: "q, k, v, at, seq, pos", Out: "o, lse",
	BF16:   "q, k, v -> o",
	Phases: graph.Declared | graph.Training,
	Infer: func(a AttentionDropoutAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in); err != nil {
			return nil, err
		}
		return []graph.Type{in[0], graph.T(graph.F32, in[0].Shape[0], graph.C(a.Heads))}, nil
	},
	Ref: func(a AttentionDropoutAttrs, in, out []graph.Tensor) error {
		attend(a.Attention(), NewProbsDropout(a, in[3].I32()), in, out)
		return nil
	},
	Grad: func(a AttentionDropoutAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		if c.DOut[1].Valid() {
			return nil, fmt.Errorf("the log-sum-exp result is not differentiable")
		}
		d := AttentionDropoutGradOp.Emit(a, c.In[0], c.In[1], c.In[2], c.Out[0], c.Out[1], c.DOut[0], c.In[3], c.In[4], c.In[5])
		return append(d, graph.Value{}, graph.Value{}, graph.Value{}), nil
	},
})

// AttentionDropoutGradOp differentiates AttentionDropoutOp, drawing the same
// numbers again: as AttentionGradOp, with
// ds_ij = p_ij(f_ij do_i·v_j − do_i·o_i) and dv_j = Σ_i f_ij p_ij do_i.
var AttentionDropoutGradOp = graph.Define(graph.Def[AttentionDropoutAttrs]{
	Name: "attention.dropout.grad", Doc: "gradients of attention.dropout", In: "q, k, v, o, lse, do, at, seq, pos", Out: "dq, dk, dv",
	BF16:   "q, k, v, o, do -> dq, dk, dv",
	Phases: graph.Declared | graph.Training,
	Infer: func(a AttentionDropoutAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := a.check(in); err != nil {
			return nil, err
		}
		return a.Attention().gradTypes(in)
	},
	Ref: func(a AttentionDropoutAttrs, in, out []graph.Tensor) error {
		attendGrad(a.Attention(), NewProbsDropout(a, in[6].I32()), in, out)
		return nil
	},
})

// AttentionDropout returns the output of AttentionDropoutOp.
func AttentionDropout(q, k, v, at, seq, pos graph.Value, a AttentionDropoutAttrs) graph.Value {
	return AttentionDropoutOp.Emit(a, q, k, v, at, seq, pos)[0]
}

// ProbsDropout says which attention probabilities of a call are dropped.
type ProbsDropout struct{ DropoutRows }

// NewProbsDropout prepares a call with operand at.
func NewProbsDropout(a AttentionDropoutAttrs, at []int32) *ProbsDropout {
	return &ProbsDropout{NewDropout(a.Dropout(), at)}
}

// Kept returns which probabilities stay that token i gives to tokens j to j+7 in a
// head: the lowest bit is token j's.
func (d *ProbsDropout) Kept(i, head, j int) uint8 {
	key := d.row + uint32(j)
	bits := uint16(d.kept(i, head, key/8))
	if key%8 != 0 {
		bits |= uint16(d.kept(i, head, key/8+1)) << 8
	}
	return uint8(bits >> (key % 8))
}

func (d *ProbsDropout) kept(i, head int, eight uint32) (bits uint8) {
	words := Philox(d.key, [4]uint32{d.row + uint32(i), eight, d.stream + uint32(head+1)*mostStreams, d.step})
	for j := range 8 {
		if words[j/2]>>(j%2*16)&0xffff >= d.threshold {
			bits |= 1 << j
		}
	}
	return bits
}

// Factors writes what the probabilities that token i gives to tokens from j on are
// multiplied with in a head: 0 or Scale.
func (d *ProbsDropout) Factors(f []float32, i, head, j int) {
	for c := 0; c < len(f); c += 8 {
		kept := d.Kept(i, head, j+c)
		for b := range min(8, len(f)-c) {
			f[c+b] = 0
			if kept>>b&1 != 0 {
				f[c+b] = d.scale
			}
		}
	}
}

// Scale is what probabilities that stay are multiplied with.
func (d *ProbsDropout) Scale() float32 { return d.scale }
