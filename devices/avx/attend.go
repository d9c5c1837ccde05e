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
	// attendTokens is how many tokens of one sequence share a pass over keys at
	// most; fewer where that gives all workers something to do.
	attendTokens = 32
	// denseTokens together repay widening and packing a span's keys and values.
	denseTokens = 4
	// fewTasks is how many tasks a worker should have. Where tokens and key heads
	// do not suffice, the spans of a token are tasks of their own.
	fewTasks = 4
)

// attend is a bound call of attention.cached.
type attend struct {
	isa          asm.ISA
	a            ops.AttentionAttrs
	s, hd, group int
	splits       int // most spans of a sequence
	size         int // tokens in a task
	scale        float32
	q, o         []float32 // [S,H*hd]
	seq, pos     []int32
	pages        ops.Pages
	keys, values cache
	codes        *codes // in place of keys and values

	work  []attendWork // by worker
	parts []float32    // spread calls only: the state of every token, head and span
}

// attendWork is the scratch of one worker.
type attendWork struct {
	scores []float32 // [size,splitLen] of one head, or [heads,splitLen] of one token
	total  []float32 // [size,group] states
	span   []float32 // [size] states of one head and span, or [group] of one token
	// For denseTokens and more: a span's keys or values in f32, and values
	// packed for a product.
	wide   []float32 // [splitLen,hd]
	packed []float32
	edge   []float32
	codes  codesWork
}

// A state is what attention to some positions leaves: the weighted sum of
// values, the largest score and the sum of weights relative to it.
func (at *attend) stateLen() int { return at.hd + 2 }

// newAttend lays out a call, whose operands seq, pos and table begin at next, and
// its scratch.
func (u *unit) newAttend(c *devices.Call, next int, s *scratch) *attend {
	a := c.Attrs.(ops.AttentionAttrs)
	at := &attend{isa: u.isa, a: a, s: c.In[0].Dims[0], hd: c.In[0].Last() / a.Heads, group: a.Heads / a.KVHeads}
	at.splits = max(1, ceilDiv(c.In[next+2].Dims[1]*c.In[1].Dims[1], splitLen))
	at.scale = float32(1 / math.Sqrt(float64(at.hd)))
	at.size = max(1, min(at.s, attendTokens, at.s*a.KVHeads/(fewTasks*u.threads)))
	at.work = make([]attendWork, u.threads)
	for i := range at.work {
		w := &at.work[i]
		w.total = part[float32](s, at.size*at.group*at.stateLen())
		w.span = part[float32](s, max(at.size, at.group)*at.stateLen())
		if next == codesOperands {
			continue
		}
		w.scores = part[float32](s, max(at.size, a.Heads)*splitLen)
		if at.size >= denseTokens {
			w.wide = part[float32](s, splitLen*at.hd)
			w.packed = part[float32](s, asm.PackedB(at.hd, splitLen))
			w.edge = part[float32](s, asm.SmallEdge)
		}
	}
	if next == codesOperands {
		at.codes = u.newCodes(c, at, s)
	}
	if (at.s <= 2 || at.s*a.KVHeads <= fewTasks*u.threads) && at.splits > 1 {
		at.parts = part[float32](s, at.s*a.Heads*at.splits*at.stateLen())
		if at.parts == nil {
			at.parts = []float32{} // counting: still a spread call
		}
	}
	if c.In[0].Buf != nil {
		at.q, at.o = f32(c.In[0]), f32(c.Out[0])
		at.seq, at.pos = host.I32(c.In[next]), host.I32(c.In[next+1])
		at.pages = pagesOf(c.In[1], c.In[next+2])
	}
	return at
}

// floatOperands of attention.cached: seq, pos and table follow the caches.
const floatOperands = 3

func (u *unit) bindAttend(c *devices.Call) (devices.Launch, error) {
	at := u.newAttend(c, floatOperands, bindScratch(c))
	at.keys, at.values = u.newCache(c.In[1]), u.newCache(c.In[2])
	return at.launch(c), nil
}

func (at *attend) launch(c *devices.Call) host.Launch {
	if at.parts == nil {
		return host.Parallel(c, ceilDiv(at.s, at.size)*at.a.KVHeads, at.block)
	}
	return host.Launch{Where: c.Where, Phases: []host.Phase{
		{Tasks: at.s * at.a.KVHeads * at.splits, Run: at.span},
		{Tasks: at.s * at.a.KVHeads, Run: at.join},
	}}
}

// block is one task of a call with many tokens: some of them for one key head.
// Tokens of one sequence go together.
func (at *attend) block(task, worker int) {
	kv := task % at.a.KVHeads
	from := task / at.a.KVHeads * at.size
	end := min(at.s, from+at.size)
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
	low, high := at.bounds(from)
	for t := from + 1; t < to; t++ {
		l, h := at.bounds(t)
		low, high = min(low, l), max(high, h)
	}
	for i := range (to - from) * at.group {
		w.total[i*at.stateLen()+at.hd+1] = 0
	}
	for split := low / splitLen; split*splitLen < high; split++ {
		a, b := max(low, split*splitLen), min(high, (split+1)*splitLen)
		if to-from >= denseTokens && at.codes == nil {
			at.dense(w, from, to, kv, a, b)
			continue
		}
		for t := from; t < to; t++ {
			tl, th := at.within(t, a, b)
			if tl == th {
				continue
			}
			at.one(w, w.span, at.stateLen(), t, kv, tl, th)
			for h := range at.group {
				at.merge(at.total(w, t-from, h), w.span[h*at.stateLen():][:at.stateLen()])
			}
		}
	}
	for t := from; t < to; t++ {
		for h := range at.group {
			at.output(t, kv*at.group+h, at.total(w, t-from, h))
		}
	}
}

// total is the state of all spans so far of the pass's i-th token.
func (at *attend) total(w *attendWork, i, h int) []float32 {
	return w.total[(i*at.group+h)*at.stateLen():][:at.stateLen()]
}

// dense is one span [a,b) of many tokens, as products of matrices. Its sums are
// those of scores and weigh: the same chains, which go on with zeros for
// positions that a token does not see.
func (at *attend) dense(w *attendWork, from, to, kv, a, b int) {
	n, m := at.stateLen(), to-from
	at.widen(w.wide, &at.values, to-1, kv, a, b)
	at.isa.PackB(w.packed, asm.Mat{Data: w.wide, Ld: at.hd}, at.hd, b-a)
	at.widen(w.wide, &at.keys, to-1, kv, a, b)
	for h := range at.group {
		at.isa.DotF32(w.scores, splitLen, w.wide, at.hd, at.query(from, kv, h), at.a.Heads*at.hd, b-a, m, at.hd)
		for t := from; t < to; t++ {
			row := w.scores[(t-from)*splitLen:][:b-a]
			tl, th := at.within(t, a, b)
			at.weights(w.span[(t-from)*n:][:n], row[tl-a:th-a])
			clear(row[:tl-a])
			clear(row[th-a:])
		}
		at.isa.MulPacked(w.span, n, w.scores, splitLen, w.packed, m, at.hd, b-a, false, w.edge)
		for t := from; t < to; t++ {
			if tl, th := at.within(t, a, b); tl < th {
				at.merge(at.total(w, t-from, h), w.span[(t-from)*n:][:n])
			}
		}
	}
}

// widen copies a head's keys or values of positions [a,b) as f32.
func (at *attend) widen(dst []float32, c *cache, t, kv, a, b int) {
	for p := a; p < b; {
		n := min(at.pages.Size-p%at.pages.Size, b-p)
		row := cacheRow(&at.pages, t, at.seq[t], int32(p))
		for j := range n {
			c.load(dst[(p-a+j)*at.hd:][:at.hd], row+j, kv*at.hd)
		}
		p += n
	}
}

// within is the part of positions [a,b) that token t sees; it may be empty.
func (at *attend) within(t, a, b int) (low, high int) {
	low, high = at.bounds(t)
	low = min(max(low, a), b)
	return low, max(low, min(high, b))
}

// query is where the rows of a head's queries begin.
func (at *attend) query(t, kv, h int) []float32 {
	return at.q[(t*at.a.Heads+kv*at.group+h)*at.hd:]
}

// bounds is the range of positions that token t sees.
func (at *attend) bounds(t int) (low, high int) {
	high = int(at.pos[t]) + 1
	if at.a.Window > 0 {
		low = max(0, high-at.a.Window)
	}
	return low, high
}

// weights turns scores into the weights of a softmax, relative to the largest,
// and records that and their sum.
func (at *attend) weights(state, scores []float32) {
	top := at.isa.Max(scores) * at.scale
	at.isa.ExpScaled(scores, scores, at.scale, top)
	state[at.hd], state[at.hd+1] = top, at.isa.Sum(scores)
}

// one fills the states, ld apart, of a key head's group for token t and positions
// [a,b), which lie in one span.
func (at *attend) one(w *attendWork, states []float32, ld, t, kv, a, b int) {
	if at.codes != nil {
		at.codes.span(at, &w.codes, states, ld, t, kv, kv+1, a, b, false)
		return
	}
	q, col := at.query(t, kv, 0), kv*at.hd
	at.pageRows(t, a, b, func(p, row, n int) {
		at.keys.dot(w.scores[p-a:], splitLen, row, col, n, q, at.hd, at.group, at.hd)
	})
	for h := range at.group {
		state := states[h*ld:][:at.stateLen()]
		at.weights(state, w.scores[h*splitLen:][:b-a])
		clear(state[:at.hd])
	}
	at.pageRows(t, a, b, func(p, row, n int) {
		at.values.accum(states, ld, w.scores[p-a:], splitLen, row, col, n, at.group, at.hd)
	})
}

// pageRows calls f with the consecutive rows of each page of token t's positions
// [a,b).
func (at *attend) pageRows(t, a, b int, f func(p, row, n int)) {
	for p := a; p < b; {
		n := min(at.pages.Size-p%at.pages.Size, b-p)
		f(p, cacheRow(&at.pages, t, at.seq[t], int32(p)), n)
		p += n
	}
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
	// The key heads of a span come one after the other: their rows are neighbours.
	kv := task % at.a.KVHeads
	split := task / at.a.KVHeads % at.splits
	t := task / at.splits / at.a.KVHeads
	low, high := at.within(t, split*splitLen, (split+1)*splitLen)
	if low >= high {
		return
	}
	if from, to := at.bounds(t); to-from >= fewTasks*len(at.work)*splitLen {
		// There are spans enough: one task takes all heads of a span, so that
		// memory is read in order.
		if kv == 0 {
			at.allHeads(&at.work[worker], t, split, low, high)
		}
		return
	}
	from := (t*at.a.Heads+kv*at.group)*at.splits + split
	at.one(&at.work[worker], at.parts[from*at.stateLen():], at.splits*at.stateLen(), t, kv, low, high)
}

// allHeads is one for all key heads. While it works on a page it asks for the next.
func (at *attend) allHeads(w *attendWork, t, split, a, b int) {
	if at.codes != nil {
		at.codes.span(at, &w.codes, at.parts[(t*at.a.Heads*at.splits+split)*at.stateLen():], at.splits*at.stateLen(), t, 0, at.a.KVHeads, a, b, true)
		return
	}
	at.pageHeads(t, a, b, &at.keys, &at.values, func(p, row, n, kv int) {
		at.keys.dot(w.scores[kv*at.group*splitLen+p-a:], splitLen, row, kv*at.hd, n, at.query(t, kv, 0), at.hd, at.group, at.hd)
	})
	for h := range at.a.Heads {
		state := at.part(t, h, split)
		at.weights(state, w.scores[h*splitLen:][:b-a])
		clear(state[:at.hd])
	}
	ld := at.splits * at.stateLen()
	at.pageHeads(t, a, b, &at.values, nil, func(p, row, n, kv int) {
		from := (t*at.a.Heads+kv*at.group)*at.splits + split
		at.values.accum(at.parts[from*at.stateLen():], ld, w.scores[kv*at.group*splitLen+p-a:], splitLen, row, kv*at.hd, n, at.group, at.hd)
	})
}

// pageHeads calls f with the rows of each page of c and each key head. After the
// last page comes the first one of then.
func (at *attend) pageHeads(t, a, b int, c, then *cache, f func(p, row, n, kv int)) {
	for p := a; p < b; {
		n := min(at.pages.Size-p%at.pages.Size, b-p)
		row := cacheRow(&at.pages, t, at.seq[t], int32(p))
		next, ahead := p+n, c
		if next >= b {
			next, ahead = a, then
		}
		var soon []byte
		if ahead != nil {
			soon = ahead.rows(cacheRow(&at.pages, t, at.seq[t], int32(next)), min(at.pages.Size-next%at.pages.Size, b-next))
		}
		for kv := range at.a.KVHeads {
			at.isa.Prefetch(soon[len(soon)*kv/at.a.KVHeads : len(soon)*(kv+1)/at.a.KVHeads])
			f(p, row, n, kv)
		}
		p += n
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
	total := at.work[worker].total[:at.stateLen()]
	for h := range at.group {
		total[at.hd+1] = 0
		for split := low / splitLen; split*splitLen < high; split++ {
			at.merge(total, at.part(t, kv*at.group+h, split))
		}
		at.output(t, kv*at.group+h, total)
	}
}
