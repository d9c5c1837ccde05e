package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/internal/gguf"
)

// I2SOrder says which values share a byte of an I2_S tensor. Builds of
// Microsoft's fork differ in it and the file does not tell.
type I2SOrder uint8

const (
	// I2SAuto looks for evidence and refuses the file if there is none.
	I2SAuto = I2SOrder(0)
	// I2SX86 is what Python converters, x86 builds and trit write.
	I2SX86 = I2SOrder(gguf.OrderX86)
	// I2SARM is what ARM builds of llama-quantize write.
	I2SARM = I2SOrder(gguf.OrderARM)
	// I2SRows is what x86 builds without ACT_PARALLEL write.
	I2SRows = I2SOrder(gguf.OrderRows)
)

func (o I2SOrder) String() string {
	if o == I2SAuto {
		return "auto"
	}
	return gguf.Order(o).String()
}

// ParseI2SOrder is the inverse of String: auto, x86, arm or rows.
func ParseI2SOrder(s string) (I2SOrder, error) {
	for o := I2SAuto; o <= I2SRows; o++ {
		if o.String() == s {
			return o, nil
		}
	}
	return 0, fmt.Errorf("unknown I2_S order %q; want auto, x86, arm or rows", s)
}

// WithI2SOrder states the order of I2_S tensors instead of looking for evidence.
func WithI2SOrder(o I2SOrder) Option { return func(opts *options) { opts.order = o } }

// orderKey is written into trit's own files.
const orderKey = "trit.i2_s_order"

var errOrder = errors.New("nothing in the file tells in which order its I2_S codes are packed; state it with --i2s-order x86 (files of Python converters and of llama-quantize on x86), arm (llama-quantize on ARM) or rows (x86 builds without ACT_PARALLEL)")

// settleOrder finds the order of the file's I2_S tensors. It returns a note if
// that rests on inference.
func (g *ggufSource) settleOrder(c *Config) (note string, err error) {
	if !slices.ContainsFunc(g.content.Tensors, func(t gguf.Tensor) bool { return t.Type == gguf.I2_S }) || g.order != I2SAuto {
		return "", nil
	}
	if v, ok := g.content.Get(orderKey); ok {
		s, _ := v.Text()
		if g.order, err = ParseI2SOrder(s); err != nil || g.order == I2SAuto {
			return "", fmt.Errorf("metadata key %s: unknown order %v", orderKey, v)
		}
		return "", nil
	}
	if why := g.writerOf(); why != "" {
		g.order = I2SX86
		return "the I2_S codes are read in the order x86: " + why + "; state another with --i2s-order", nil
	}
	if g.order = g.orderByProfile(c); g.order == I2SAuto {
		return "", errOrder
	}
	return fmt.Sprintf("the I2_S codes are read in the order %v, in which the matrices fit each other; state another with --i2s-order", g.order), nil
}

// writerOf recognises Python converters, all of which write the order x86, by
// the 28 filler bytes behind the scale: one repeats the scale, others write
// zeros. llama-quantize leaves what its buffer held: behind a matrix that is
// smaller than an earlier one, that is the earlier one's codes, which are not
// zero. Zeros everywhere are evidence only if such a matrix is there.
func (g *ggufSource) writerOf() string {
	repeated, zero, smaller := true, true, false
	var largest int64
	for _, t := range g.content.Tensors {
		if t.Type != gguf.I2_S {
			continue
		}
		raw, err := g.content.Bytes(t)
		if err != nil {
			return ""
		}
		tail := gguf.TailI2S(raw)
		scale := raw[len(raw)-len(tail)-4 : len(raw)-len(tail)]
		repeated = repeated && bytes.Equal(tail, bytes.Repeat(scale, len(tail)/4))
		zero = zero && bytes.Equal(tail, make([]byte, len(tail)))
		smaller = smaller || t.Size < largest
		largest = max(largest, t.Size)
	}
	switch {
	case repeated:
		return "the scale is repeated as only Microsoft's Python converter does"
	case zero && smaller:
		return "the filler behind the scales is zero, as only Python converters leave it"
	}
	return ""
}

// orderByProfile compares, for every order, how dense a matrix is in each of
// its input channels with what the model says about that channel elsewhere, in
// places that the order does not touch: the weight of the norm before it and
// the density of the rows that produce the channel. In a trained model these
// are correlated; in a wrong order the channels are shuffled and they are not.
// It returns I2SAuto unless one order stands out beyond chance.
func (g *ggufSource) orderByProfile(c *Config) I2SOrder {
	orders := []I2SOrder{I2SX86, I2SARM, I2SRows}
	score := make([]float64, len(orders))
	for i, o := range orders {
		score[i] = g.evidence(c, o)
	}
	best, second := 0, -1
	for i := range orders {
		if score[i] > score[best] {
			best = i
		}
	}
	for i := range orders {
		if i != best && (second < 0 || score[i] > score[second]) {
			second = i
		}
	}
	if score[best] < 10 || score[second] > score[best]/2 {
		return I2SAuto
	}
	return orders[best]
}

// profiledLayers bounds the work of evidence.
const profiledLayers = 4

// evidence is the sum of squared z-scores of the correlations, in standard
// deviations above what chance gives.
func (g *ggufSource) evidence(c *Config, o I2SOrder) float64 {
	var sum float64
	n := 0
	add := func(a, b []float64) {
		if z, ok := zScore(a, b); ok {
			sum += z * z
			n++
		}
	}
	for l := range min(c.Layers, profiledLayers) {
		p := fmt.Sprintf("model.layers.%d.", l)
		norm := func(name string) []float64 { return g.normProfile(Spec{Name: p + name}) }
		gate, _ := g.density(p+"mlp.gate_proj.weight", o)
		up, upIn := g.density(p+"mlp.up_proj.weight", o)
		v, _ := g.density(p+"self_attn.v_proj.weight", o)
		_, down := g.density(p+"mlp.down_proj.weight", o)
		_, out := g.density(p+"self_attn.o_proj.weight", o)
		add(gate, down)
		add(up, down)
		if len(v) == len(out) {
			add(v, out)
		}
		add(norm("mlp.ffn_sub_norm.weight"), down)
		add(norm("self_attn.attn_sub_norm.weight"), out)
		_, q := g.density(p+"self_attn.q_proj.weight", o)
		add(norm("input_layernorm.weight"), q)
		add(norm("post_attention_layernorm.weight"), upIn)
	}
	if n == 0 {
		return 0
	}
	return (sum - float64(n)) / math.Sqrt(2*float64(n))
}

func (g *ggufSource) normProfile(s Spec) []float64 {
	t, err := g.tensor(s)
	if err != nil {
		return nil
	}
	x, err := g.decode(t)
	if err != nil {
		return nil
	}
	out := make([]float64, x.Len())
	for i, v := range x.F32() {
		out[i] = math.Abs(float64(v))
	}
	return out
}

// density counts the non-zero codes of every row and column of a matrix read
// in the given order.
func (g *ggufSource) density(name string, o I2SOrder) (rows, cols []float64) {
	t, err := g.tensor(Spec{Name: name})
	if err != nil || t.Type != gguf.I2_S {
		return nil, nil
	}
	raw, err := g.content.Bytes(t)
	if err != nil {
		return nil, nil
	}
	in := t.Dims[1]
	codes := make([]int8, t.Dims[0]*in)
	if _, err := gguf.UnpackI2S(codes, raw, gguf.Order(o), in); err != nil {
		return nil, nil
	}
	rows, cols = make([]float64, t.Dims[0]), make([]float64, in)
	for r := range rows {
		for i, code := range codes[r*in : (r+1)*in] {
			v := float64(code & 1)
			rows[r] += v
			cols[i] += v
		}
	}
	return rows, cols
}

// zScore is Fisher's transform of the correlation of a and b in units of its
// standard deviation; false if it is not defined.
func zScore(a, b []float64) (float64, bool) {
	if len(a) != len(b) || len(a) < 16 {
		return 0, false
	}
	n := float64(len(a))
	var ma, mb float64
	for i := range a {
		ma += a[i] / n
		mb += b[i] / n
	}
	var aa, bb, ab float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		aa, bb, ab = aa+x*x, bb+y*y, ab+x*y
	}
	if aa == 0 || bb == 0 {
		return 0, false
	}
	r := ab / math.Sqrt(aa*bb)
	return math.Atanh(min(max(r, -0.9999), 0.9999)) * math.Sqrt(n-3), true
}
