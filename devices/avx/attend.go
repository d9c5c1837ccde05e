package avx

import (
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// Attention over the cache splits a sequence into spans of splitLen positions,
// at multiples of splitLen. Each span has its own softmax; spans are joined from
// the first to the last. How a token's output is added up therefore depends on
// its position alone: not on the batch, on how a prompt was cut into steps, or on
// threads.
const (
	splitLen = 256
	// attendTokens is how many tokens of one sequence share a pass over keys.
	attendTokens = 8
	// fewTasks a worker: below, the spans of a token are tasks of their own.
	fewTasks = 4
)

// attend is a bound call of attention.cached.
type attend struct {
	isa          asm.ISA
	a            ops.AttentionAttrs
	s, hd, group int
	splits       int // most spans of a sequence
	scale        float32
	q, o         []float32 // [S,H*hd]
	seq, pos     []int32
	pages        ops.Pages
	keys, values cache

	work  []attendWork // by worker
	parts []float32    // spread calls only: the state of every token, head and span
}

// attendWork is the scratch of one worker.
type attendWork struct {
	scores []float32 // [attendTokens,splitLen] of one head
	states []float32 // [attendTokens,group] of the tokens in the pass, then one of a span
}

// A state is what attention to some positions leaves: the weighted sum of
// values, the largest score and the sum of weights relative to it.
func (at *attend) stateLen() int { return at.hd + 2 }

// newAttend lays out a call and its scratch.
func (u *unit) newAttend(c *devices.Call, s *scratch) *attend {
	a := c.Attrs.(ops.AttentionAttrs)
	at := &attend{isa: u.isa, a: a, s: c.In[0].Dims[0], hd: c.In[0].Last() / a.Heads, group: a.Heads / a.KVHeads}
	at.splits = max(1, ceilDiv(c.In[5].Dims[1]*c.In[1].Dims[1], splitLen))
	at.scale = float32(1 / math.Sqrt(float64(at.hd)))
	at.work = make([]attendWork, u.threads)
	for i := range at.work {
		at.work[i] = attendWork{
			scores: part[float32](s, attendTokens*splitLen),
			states: part[float32](s, (attendTokens+1)*at.group*at.stateLen()),
		}
	}
	if at.s*a.KVHeads <= fewTasks*u.threads && at.splits > 1 {
		at.parts = part[float32](s, at.s*a.Heads*at.splits*at.stateLen())
		if at.parts == nil {
			at.parts = []float32{} // counting: still a spread call
		}
	}
	return at
}

func (u *unit) bindAttend(c *devices.Call) (devices.Launch, error) {
	at := u.newAttend(c, bindScratch(c))
	at.q, at.o = f32(c.In[0]), f32(c.Out[0])
	at.keys, at.values = u.newCache(c.In[1]), u.newCache(c.In[2])
	at.seq, at.pos = host.I32(c.In[3]), host.I32(c.In[4])
	at.pages = pagesOf(c.In[1], c.In[5])
	if at.parts == nil {
		blocks := ceilDiv(at.s, attendTokens)
		return host.Parallel(c, blocks*at.a.KVHeads, at.block), nil
	}
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: at.s * at.a.KVHeads * at.splits, Run: at.span},
		{Tasks: at.s * at.a.KVHeads, Run: at.join},
	}}, nil
}

// block is one task of many tokens: attendTokens of them for one key head. Tokens
// of one sequence go together.
func (at *attend) block(task, worker int) {
	kv := task % at.a.KVHeads
	from := task / at.a.KVHeads * attendTokens
	end := min(at.s, from+attendTokens)
	for from < end {
		to := from + 1
		for to < end && at.seq[to] == at.seq[from] {
			to++
		}
		at.tokens(&at.work[worker], from, to, kv)
		from = to
	}
}

// tokens attends from tokens [from,to) of one sequence, span after span.
func (at *attend) tokens(w *attendWork, from, to, kv int) {
	n, size := at.stateLen(), at.group*at.stateLen()
	low, high := at.bounds(from)
	for t := from + 1; t < to; t++ {
		l, h := at.bounds(t)
		low, high = min(low, l), max(high, h)
	}
	total, span := w.states[:attendTokens*size], w.states[attendTokens*size:]
	for i := range (to - from) * at.group {
		total[i*n+at.hd+1] = 0
	}
	for split := low / splitLen; split*splitLen < high; split++ {
		a, b := max(low, split*splitLen), min(high, (split+1)*splitLen)
		for h := range at.group {
			at.scores(w.scores, from, to, kv, h, a, b)
			for t := from; t < to; t++ {
				tl, th := at.bounds(t)
				tl, th = max(tl, a), min(th, b)
				if tl >= th {
					continue
				}
				row := w.scores[(t-from)*splitLen:][:splitLen]
				state := span[:n]
				at.values1(state, row[tl-a:th-a], t, kv, tl)
				at.merge(total[((t-from)*at.group+h)*n:][:n], state)
			}
		}
	}
	for t := from; t < to; t++ {
		for h := range at.group {
			at.output(t, kv*at.group+h, total[((t-from)*at.group+h)*n:][:n])
		}
	}
}

// bounds is the range of positions that token t sees.
func (at *attend) bounds(t int) (low, high int) {
	high = int(at.pos[t]) + 1
	if at.a.Window > 0 {
		low = max(0, high-at.a.Window)
	}
	return low, high
}

// scores fills scores[t-from] with the products of head h's queries and the keys
// of positions [a,b), which lie in one span.
func (at *attend) scores(scores []float32, from, to, kv, h, a, b int) {
	d := at.a.Heads * at.hd
	q := at.q[from*d+(kv*at.group+h)*at.hd:]
	for p := a; p < b; {
		n := min(at.pages.Size-p%at.pages.Size, b-p)
		row := cacheRow(&at.pages, to-1, at.seq[from], int32(p))
		at.keys.dot(scores[p-a:], splitLen, row, kv*at.hd, n, q, d, to-from, at.hd)
		p += n
	}
}

// values1 turns the scores of token t for positions from low on into a state.
func (at *attend) values1(state, scores []float32, t, kv, low int) {
	top := at.isa.Max(scores) * at.scale
	at.isa.ExpScaled(scores, scores, at.scale, top)
	acc := state[:at.hd]
	clear(acc)
	for i := 0; i < len(scores); {
		p := low + i
		n := min(at.pages.Size-p%at.pages.Size, len(scores)-i)
		row := cacheRow(&at.pages, t, at.seq[t], int32(p))
		at.values.accum(acc, scores[i:i+n], row, kv*at.hd)
		i += n
	}
	state[at.hd], state[at.hd+1] = top, at.isa.Sum(scores)
}

// merge adds the state of the next span to that of all spans before.
func (at *attend) merge(total, span []float32) {
	hd := at.hd
	if total[hd+1] == 0 { // nothing yet: weights are relative to the largest, so a sum is at least 1
		copy(total, span)
		return
	}
	top := max(total[hd], span[hd])
	a, b := exp32(total[hd]-top), exp32(span[hd]-top)
	at.isa.Scale(total[:hd], total[:hd], a)
	at.isa.Axpy(total[:hd], span[:hd], b)
	total[hd], total[hd+1] = top, float32(total[hd+1]*a)+float32(span[hd+1]*b)
}

func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

func (at *attend) output(t, head int, state []float32) {
	at.isa.Scale(at.o[(t*at.a.Heads+head)*at.hd:][:at.hd], state[:at.hd], 1/state[at.hd+1])
}

// span is one task of a spread call: a token, a key head and a span.
func (at *attend) span(task, worker int) {
	split := task % at.splits
	kv := task / at.splits % at.a.KVHeads
	t := task / at.splits / at.a.KVHeads
	low, high := at.bounds(t)
	low, high = max(low, split*splitLen), min(high, (split+1)*splitLen)
	if low >= high {
		return
	}
	w := &at.work[worker]
	for h := range at.group {
		at.scores(w.scores, t, t+1, kv, h, low, high)
		at.values1(at.part(t, kv*at.group+h, split), w.scores[:high-low], t, kv, low)
	}
}

func (at *attend) part(t, head, split int) []float32 {
	n := at.stateLen()
	return at.parts[((t*at.a.Heads+head)*at.splits+split)*n:][:n]
}

// join is the second task of a spread call: it joins a token's spans in order.
func (at *attend) join(task, worker int) {
	kv, t := task%at.a.KVHeads, task/at.a.KVHeads
	low, high := at.bounds(t)
	total := at.work[worker].states[:at.stateLen()]
	for h := range at.group {
		total[at.hd+1] = 0
		for split := low / splitLen; split*splitLen < high; split++ {
			at.merge(total, at.part(t, kv*at.group+h, split))
		}
		at.output(t, kv*at.group+h, total)
	}
}
