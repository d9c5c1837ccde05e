package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// WeightStats tells how the ternary codes of one matrix are doing after a step.
// Shares are of all its weights; a value that is not known yet is NaN.
type WeightStats struct {
	Param   string
	Weights int // in the matrix

	Minus, Zero, Plus float64 // share of each code

	// FlipRate is the share of codes that this one step changed, the flip rate of
	// Hu et al. 2024, "Accelerating Transformer Pre-training with 2:4 Sparsity". In a
	// healthy run it rises with the learning rate and falls with it towards 0.
	FlipRate float64

	// Scale is γ, the mean absolute weight (also of a matrix with a scale for each
	// group of weights), and Drift is γ/γ₀ − 1, with γ₀ that of the weights that
	// the run began with.
	Scale, Drift float64

	// Boundary is the share of weights within BoundaryWidth·γ of a threshold of
	// the quantizer, ±γ/2, where weights gather that go back and forth between two
	// codes (Nagel et al. 2022, "Overcoming Oscillations in Quantization-Aware
	// Training").
	Boundary float64

	// Dead is the share of weights whose code was 0 at this and the DeadAfter−1
	// measurements before: they have stayed in the dead zone, |w| ≤ γ/2, where the
	// forward pass does not see them (Huang et al. 2025, "Tequila: Trapping-free
	// Ternary Quantization for Large Language Models"). Frozen is the same for
	// any code.
	Dead, Frozen float64
}

const (
	// BoundaryWidth is how near to a threshold counts, in units of γ.
	BoundaryWidth = 0.05
	// DeadAfter is over how many measurements a code counts as one that stays.
	DeadAfter = 10
)

// Total is the mean over matrices, each by its number of weights.
func Total(all []WeightStats) WeightStats {
	var t WeightStats
	for _, s := range all {
		t.Weights += s.Weights
	}
	for _, s := range all {
		w := float64(s.Weights) / float64(max(t.Weights, 1))
		from := s.values()
		for i, v := range t.values() {
			*v += w * *from[i]
		}
	}
	return t
}

// weightColumns name what values lists.
var weightColumns = []string{"minus", "zero", "plus", "flip_rate", "scale", "drift", "boundary", "dead", "frozen"}

func (s *WeightStats) values() []*float64 {
	return []*float64{&s.Minus, &s.Zero, &s.Plus, &s.FlipRate, &s.Scale, &s.Drift, &s.Boundary, &s.Dead, &s.Frozen}
}

// meter measures WeightStats. What it remembers of earlier measurements is saved
// with checkpoints, so that a resumed run measures what the whole one does.
type meter struct {
	every  int
	order  []string          // params that are measured
	params map[string]matrix // by name
	mem    map[string]*measured
	buf    []byte
	before map[string][]byte // codes before a step that is measured
}

// matrix is a param that is measured.
type matrix struct {
	size      int
	quantizer ternary.ScaleAttrs
}

// scale is the mean absolute weight: γ, or the mean over groups of a matrix that
// has a scale for each.
func (x matrix) scale(w []float32) float32 {
	var sum float64
	x.quantizer.Groups(w, func(_, _ int, w []float32) {
		sum += float64(1/ternary.InverseScale(w)) * float64(len(w))
	})
	return float32(sum / float64(max(len(w), 1)))
}

// noteCodes writes the code of each weight plus 1.
func (x matrix) noteCodes(to []byte, w []float32) {
	x.quantizer.Groups(w, func(_, from int, w []float32) {
		s, to := ternary.InverseScale(w), to[from:]
		for i, v := range w {
			large, negative := code(v * s)
			to[i] = byte(1 + large - 2*(large&negative))
		}
	})
}

// measured is what is remembered of a matrix.
type measured struct {
	start float32 // γ₀
	count int     // measurements so far
	// marks has a byte a weight: the code of the last measurement plus 1 in the
	// lowest two bits, and above them at how many measurements it was seen, at
	// most maxSeen.
	marks []byte
}

const maxSeen = 63

// newMeter finds the ternary matrices of a loss. It is nil if there are none to
// measure.
func newMeter(loss *graph.Graph, every int) *meter {
	m := &meter{every: every, params: map[string]matrix{}, mem: map[string]*measured{}, before: map[string][]byte{}}
	for _, n := range loss.Nodes {
		attrs, ok := bitlinear.Op.Of(n)
		if !ok || n.In[1].Node().Op != graph.ParamOp.OpDef {
			continue
		}
		name := graph.SourceName(n.In[1].Node())
		if _, seen := m.params[name]; seen {
			continue
		}
		if dims, err := n.In[1].Type().Shape.Eval(nil); err == nil {
			size, _ := graph.Count(dims)
			m.params[name] = matrix{size, attrs.Weights()}
			m.order = append(m.order, name)
		}
	}
	if every == 0 || len(m.order) == 0 {
		return nil
	}
	return m
}

// due reports whether step, counted from 1, is measured.
func (m *meter) due(step int) bool { return m != nil && step%m.every == 0 }

// scan calls do with each matrix. The values are valid during the call.
func (m *meter) scan(ctx context.Context, e *Engine, do func(name string, w []float32)) error {
	for _, name := range m.order {
		t, err := e.param(ctx, name, &m.buf)
		if err != nil {
			return fmt.Errorf("train: weight statistics: %w", err)
		}
		do(name, t)
	}
	return nil
}

// begin remembers γ₀ of the weights that a run begins with, unless a checkpoint
// has told it.
func (m *meter) begin(ctx context.Context, e *Engine) error {
	if len(m.mem) > 0 {
		return nil
	}
	return m.scan(ctx, e, func(name string, w []float32) {
		m.mem[name] = &measured{start: m.params[name].scale(w), marks: make([]byte, len(w))}
	})
}

// prepare remembers the codes before a step that is due.
func (m *meter) prepare(ctx context.Context, e *Engine) error {
	return m.scan(ctx, e, func(name string, w []float32) {
		b := m.before[name]
		if b == nil {
			b = make([]byte, len(w))
			m.before[name] = b
		}
		m.params[name].noteCodes(b, w)
	})
}

// code takes a weight in units of γ: large is 1 where the code is not 0, negative
// where the weight is. It is ternary.Code without branches, which would be wrong
// for every third weight.
func code(p float32) (large, negative uint32) {
	b := math.Float32bits(p)
	return (half - b&^(1<<31)) >> 31, b >> 31
}

const half = 0x3f000000 // ½ as float32; the order of positive floats is that of their bits

// measure tells how the weights are after the step that prepare came before.
func (m *meter) measure(ctx context.Context, e *Engine) ([]WeightStats, error) {
	var all []WeightStats
	err := m.scan(ctx, e, func(name string, w []float32) {
		all = append(all, m.mem[name].measure(name, m.params[name], w, m.before[name]))
	})
	return all, err
}

func (m *measured) measure(name string, x matrix, w []float32, before []byte) WeightStats {
	m.count++
	var n tally
	x.quantizer.Groups(w, func(_, from int, w []float32) {
		n.add(w, before[from:], m.marks[from:])
	})
	share := func(n int) float64 { return float64(n) / float64(max(len(w), 1)) }
	gamma := float64(x.scale(w))
	st := WeightStats{
		Param: name, Weights: len(w), Minus: share(n.minus), Zero: share(len(w) - n.nonzero), Plus: share(n.nonzero - n.minus),
		FlipRate: share(n.flips), Scale: gamma, Drift: gamma/float64(m.start) - 1,
		Boundary: share(n.near), Dead: share(n.dead), Frozen: share(n.frozen),
	}
	if m.count < DeadAfter {
		st.Dead, st.Frozen = math.NaN(), math.NaN()
	}
	return st
}

// tally counts the weights of a matrix.
type tally struct{ minus, nonzero, flips, near, frozen, dead int }

// add counts weights that have one scale.
func (n *tally) add(w []float32, before, marks []byte) {
	s := ternary.InverseScale(w)
	low, high := math.Float32bits(0.5-BoundaryWidth), math.Float32bits(0.5+BoundaryWidth)
	for i, v := range w {
		p := v * s
		large, negative := code(p)
		c := byte(1 + large - 2*(large&negative))
		n.nonzero += int(large)
		n.minus += int(large & negative)
		changed := c ^ before[i]
		n.flips += int((changed | changed>>1) & 1)
		if b := math.Float32bits(p) &^ (1 << 31); b-low < high-low {
			n.near++
		}
		seen := byte(1)
		if mark := marks[i]; mark > 3 && mark&3 == c {
			seen = min(mark>>2+1, maxSeen)
		}
		marks[i] = seen<<2 | c
		stays := uint32(DeadAfter-1-int32(seen)) >> 31
		n.frozen += int(stays)
		n.dead += int(stays &^ large)
	}
}

// The names of what a meter remembers, before that of the param.
const (
	meterMarks = "marks/" // U8, as measured.marks
	meterStart = "start/" // F32[1]
	meterCount = "count/" // I32[1]
)

// copyTo copies what the meter remembers, into the memory of an earlier copy.
func (m *meter) copyTo(to map[string]graph.Tensor) {
	if m == nil {
		return
	}
	for name, x := range m.mem {
		t, ok := to[meterMarks+name]
		if !ok {
			t = graph.NewTensor(graph.U8, len(x.marks))
			to[meterMarks+name] = t
		}
		copy(t.Data, x.marks)
		to[meterStart+name] = graph.FromF32([]float32{x.start}, 1)
		to[meterCount+name] = graph.FromI32([]int32{int32(x.count)}, 1)
	}
}

// restore takes back a copy. One that does not fit, such as that of a run that
// was not measured, is as if nothing were remembered.
func (m *meter) restore(from map[string]graph.Tensor) {
	mem := map[string]*measured{}
	for _, name := range m.order {
		marks, start, count := from[meterMarks+name], from[meterStart+name], from[meterCount+name]
		if marks.Elem != graph.U8 || len(marks.Data) != m.params[name].size || start.Elem != graph.F32 || start.Len() != 1 || count.Elem != graph.I32 || count.Len() != 1 {
			return
		}
		mem[name] = &measured{start: start.F32()[0], count: int(count.I32()[0]), marks: slices.Clone(marks.Data)}
	}
	m.mem = mem
}
