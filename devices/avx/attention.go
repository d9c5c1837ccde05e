package avx

import (
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// Attention of training: the tokens of a step attend to each other. A task is a
// block of tokens for one key head with its group of query heads; the scores of
// a block are a small matrix product, kept in the cache until they have been
// multiplied with the values. Nothing is shared between tasks.

func (u *unit) attentionKernels() []devices.Kernel {
	cost := func(products float64) func(c *devices.Call) float64 {
		return func(c *devices.Call) float64 {
			rate := 20.0
			if u.isa == asm.AVX512 {
				rate = 40
			}
			return costCall + products*float64(c.In[0].Len())*float64(c.In[0].Dims[0])/2/rate
		}
	}
	scratchOf := func(c *devices.Call) int {
		s := &scratch{}
		u.newAttention(c, s)
		return s.size
	}
	forward := func(c *devices.Call) (devices.Launch, error) {
		at := u.newAttention(c, bindScratch(c))
		at.o, at.lse = f32(c.Out[0]), f32(c.Out[1])
		return host.Launch{Where: c.Where, Phases: []host.Phase{
			{Tasks: 1, Run: func(int, int) { at.prepare() }},
			{Tasks: at.blocks() * at.a.KVHeads, Run: at.forward},
		}}, nil
	}
	backward := func(c *devices.Call) (devices.Launch, error) {
		at := u.newAttention(c, bindScratch(c))
		at.o, at.lse, at.do = f32(c.In[3]), f32(c.In[4]), f32(c.In[5])
		at.dq, at.dk, at.dv = f32(c.Out[0]), f32(c.Out[1]), f32(c.Out[2])
		half := at.blocks() * at.a.KVHeads
		return host.Launch{Where: c.Where, Phases: []host.Phase{
			{Tasks: 1 + at.blocks(), Run: func(task, _ int) {
				if task == 0 {
					at.prepare()
				} else {
					at.rowSums(task - 1)
				}
			}},
			{Tasks: 2 * half, Run: func(task, worker int) {
				if task < half {
					at.gradKeys(task, worker)
				} else {
					at.gradQueries(task-half, worker)
				}
			}},
		}}, nil
	}
	row := func(name string, op *graph.OpDef, products float64, bind func(c *devices.Call) (devices.Launch, error)) devices.Kernel {
		return u.row(devices.Kernel{Name: name, Op: op, Order: "blocks64", Cost: cost(products), Scratch: scratchOf, Bind: bind})
	}
	return []devices.Kernel{
		row("attention.blocks64.f32", ops.AttentionOp.OpDef, 2, forward),
		row("attention.grad.blocks64.f32", ops.AttentionGradOp.OpDef, 7, backward),
		row("attention.dropout.blocks64.f32", ops.AttentionDropoutOp.OpDef, 3, forward),
		row("attention.dropout.grad.blocks64.f32", ops.AttentionDropoutGradOp.OpDef, 9, backward),
	}
}

// attnBlock is the tokens of a block.
const attnBlock = 64

// attention is a bound call, forward or backward.
type attention struct {
	isa           asm.ISA
	a             ops.AttentionAttrs
	s, hd, group  int
	d, dkv        int // row widths
	scale         float32
	q, k, v       []float32
	o, lse, do    []float32
	dq, dk, dv    []float32
	seq, pos      []int32
	starts, ends  []int32 // of the run of each token; see findRuns
	regular       bool
	negLSE, delta []float32 // [H,S] backward: −lse and −Σ do·o
	work          []attentionWork
	// of a call that drops probabilities
	dropped ops.AttentionDropoutAttrs
	stepRow []int32
	drop    *ops.ProbsDropout
}

// attentionWork is the scratch of one worker.
type attentionWork struct {
	rows         []float32 // [attnBlock,hd]: queries or keys, scaled
	scores, grad []float32 // [attnBlock,S]
	packed       [4][]float32
	edge         []float32
	inv          []float32 // [attnBlock]
	factors      []float32 // [S] of a row's probabilities, with dropout
}

// newAttention lays out a call and its scratch.
func (u *unit) newAttention(c *devices.Call, s *scratch) *attention {
	a, _ := c.Attrs.(ops.AttentionAttrs)
	dropped, drops := c.Attrs.(ops.AttentionDropoutAttrs)
	if drops {
		a = dropped.Attention()
	}
	n, backward := len(c.In), len(c.Out) == 3
	at := &attention{isa: u.isa, a: a, s: c.In[0].Dims[0], d: c.In[0].Last(), dkv: c.In[1].Last(),
		hd: c.In[0].Last() / a.Heads, group: a.Heads / a.KVHeads}
	at.scale = float32(1 / math.Sqrt(float64(at.hd)))
	if c.In[0].Buf != nil {
		at.q, at.k, at.v = f32(c.In[0]), f32(c.In[1]), f32(c.In[2])
		at.seq, at.pos = host.I32(c.In[n-2]), host.I32(c.In[n-1])
		if drops {
			at.dropped, at.stepRow = dropped, host.I32(c.In[n-3])
		}
	}
	at.starts, at.ends = part[int32](s, at.s), part[int32](s, at.s)
	packs := 2
	if backward {
		at.negLSE, at.delta = part[float32](s, at.s*a.Heads), part[float32](s, at.s*a.Heads)
		packs = 4
	}
	at.work = make([]attentionWork, u.threads)
	for i := range at.work {
		w := &at.work[i]
		w.rows, w.scores = part[float32](s, attnBlock*at.hd), part[float32](s, attnBlock*at.s)
		if backward {
			w.grad = part[float32](s, attnBlock*at.s)
		}
		for j := range packs {
			w.packed[j] = part[float32](s, max(asm.PackedB(at.s, at.hd), asm.PackedB(at.hd, at.s)))
		}
		w.edge, w.inv = part[float32](s, asm.SmallEdge), part[float32](s, attnBlock)
		if drops {
			w.factors = part[float32](s, at.s)
		}
	}
	return at
}

func (at *attention) blocks() int { return ceilDiv(at.s, attnBlock) }

// block is the tokens and the key head of a task.
func (at *attention) block(task int) (from, to, kv int) {
	from = task / at.a.KVHeads * attnBlock
	return from, min(at.s, from+attnBlock), task % at.a.KVHeads
}

// prepare does what comes before all tasks.
func (at *attention) prepare() {
	at.findRuns()
	if at.stepRow != nil {
		at.drop = ops.NewProbsDropout(at.dropped, at.stepRow)
	}
}

// findRuns splits the tokens into runs of one sequence with consecutive
// positions. If every sequence is one run, as in a batch of texts, a token sees
// its run up to itself; otherwise each pair of tokens must be looked at.
func (at *attention) findRuns() {
	at.regular = true
	from := 0
	for i := 1; i <= at.s; i++ {
		if i < at.s && at.seq[i] == at.seq[i-1] && at.pos[i] == at.pos[i-1]+1 {
			continue
		}
		for j := from; j < i; j++ {
			at.starts[j], at.ends[j] = int32(from), int32(i)
		}
		from = i
	}
	last := int32(math.MinInt32)
	for i := 0; i < at.s; i = int(at.ends[i]) {
		// Sequences in increasing order are distinct, which is all that counts.
		if i > 0 && at.seq[i] <= last {
			at.regular = false
		}
		last = at.seq[i]
	}
}

// keysOf is the hull of the keys that token i sees.
func (at *attention) keysOf(i int) (from, to int) {
	if !at.regular {
		return 0, at.s
	}
	from = int(at.starts[i])
	if at.a.Window > 0 {
		from = max(from, i-at.a.Window+1)
	}
	return from, i + 1
}

// queriesOf is the hull of the tokens that see key j.
func (at *attention) queriesOf(j int) (from, to int) {
	if !at.regular {
		return 0, at.s
	}
	to = int(at.ends[j])
	if at.a.Window > 0 {
		to = min(to, j+at.a.Window)
	}
	return j, to
}

// hull joins the ranges of the tokens of a block.
func hull(from, to int, of func(int) (int, int)) (low, high int) {
	low, high = of(from)
	for i := from + 1; i < to; i++ {
		a, b := of(i)
		low, high = min(low, a), max(high, b)
	}
	return low, high
}

func (at *attention) sees(i, j int) bool {
	return at.seq[i] == at.seq[j] && at.a.Sees(int(at.pos[i]), int(at.pos[j]))
}

// query and key are where a head's rows begin; rows are d and dkv apart.
func (at *attention) query(x []float32, i, kv, h int) []float32 {
	return x[i*at.d+(kv*at.group+h)*at.hd:]
}

func (at *attention) key(x []float32, j, kv int) []float32 { return x[j*at.dkv+kv*at.hd:] }

// scaledRows copies rows of hd elements, ld apart, times the scale of scores.
func (at *attention) scaledRows(dst, src []float32, ld, rows int) {
	for i := range rows {
		at.isa.Scale(dst[i*at.hd:(i+1)*at.hd], src[i*ld:][:at.hd], at.scale)
	}
}

// forward is one task: scores, softmax and weighted values of a block.
func (at *attention) forward(task, worker int) {
	from, to, kv := at.block(task)
	w := &at.work[worker]
	low, high := hull(from, to, at.keysOf)
	m, n := to-from, high-low
	keys, values := w.packed[0], w.packed[1]
	at.isa.PackB(keys, asm.Mat{Data: at.key(at.k, low, kv), Ld: at.dkv, Trans: true}, n, at.hd)
	at.isa.PackB(values, asm.Mat{Data: at.key(at.v, low, kv), Ld: at.dkv}, at.hd, n)
	for h := range at.group {
		at.scaledRows(w.rows, at.query(at.q, from, kv, h), at.d, m)
		at.isa.MulPacked(w.scores, n, w.rows, at.hd, keys, m, n, at.hd, false, w.edge)
		for i := range m {
			row := w.scores[i*n : (i+1)*n]
			seen := at.maskKeys(row, from+i, low)
			top := at.isa.Max(seen)
			at.isa.ExpScaled(seen, seen, 1, top)
			sum := at.isa.Sum(seen)
			w.inv[i] = 1 / sum
			at.lse[(from+i)*at.a.Heads+kv*at.group+h] = top + float32(math.Log(float64(sum)))
			at.dropKeys(row, from+i, kv*at.group+h, low, w)
		}
		o := at.query(at.o, from, kv, h)
		at.isa.MulPacked(o, at.d, w.scores, n, values, m, at.hd, n, false, w.edge)
		for i := range m {
			row := o[i*at.d:][:at.hd]
			at.isa.Scale(row, row, w.inv[i])
		}
	}
}

// dropKeys multiplies token i's row of a head, which begins at key low, with the
// factors of dropout.
func (at *attention) dropKeys(row []float32, i, head, low int, w *attentionWork) {
	if at.drop == nil {
		return
	}
	f := w.factors[:len(row)]
	at.drop.Factors(f, i, head, low)
	at.isa.Mul(row, row, f)
}

var negInf = float32(math.Inf(-1))

// maskKeys clears the scores of keys outside token i's range and returns the
// rest, in which keys that it does not see have the score −Inf. row begins at key
// low.
func (at *attention) maskKeys(row []float32, i, low int) []float32 {
	a, b := at.keysOf(i)
	clear(row[:a-low])
	clear(row[b-low:])
	seen := row[a-low : b-low]
	if !at.regular {
		for j := range seen {
			if !at.sees(i, a+j) {
				seen[j] = negInf
			}
		}
	}
	return seen
}
