package avx

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/screen"
)

// screenKernels find the likeliest tokens: the planes are made at load, and most
// of the head is never read. Instruction sets differ in speed only.
func (u *unit) screenKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "screen.planes", Op: screen.PlanesOp.OpDef, Order: "each",
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				parts[float32](s, u.threads, c.In[0].Last())
				return s.size
			},
			Bind: u.bindPlanes,
		}),
		u.row(devices.Kernel{
			// The order of the rows that are multiplied as they are: that of the
			// whole head's kernels.
			Name: "screen.top", Op: screen.TopOp.OpDef, Order: "lanes8",
			Accept: func(c *devices.Call) error {
				if w := c.In[2]; w.Elem != graph.BF16 && w.Elem != graph.F16 {
					return fmt.Errorf("it takes weights of 16 bits, not %s", w.Elem)
				}
				return planesOf(c)
			},
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				u.newTop(c, s)
				return s.size
			},
			Skips: true,
			Bind:  u.bindTop,
		}),
	}
}

// planesOf checks that operands 3 to 5 are the planes of operand 2.
func planesOf(c *devices.Call) error {
	n, cols := c.In[2].Dims[0], screen.Columns(c.In[2].Dims[1])
	rows := screen.Rows(n)
	for i, want := range []devices.Operand{
		{Elem: graph.U8, Dims: []int{rows, cols / 2}}, {Elem: graph.U8, Dims: []int{rows, cols / 4}}, {Elem: graph.F32, Dims: []int{n, screen.Bounds}},
	} {
		if got := c.In[3+i]; got.Elem != want.Elem || len(got.Dims) != 2 || got.Dims[0] != want.Dims[0] || got.Dims[1] != want.Dims[1] {
			return fmt.Errorf("operand %d is %s%v, not a plane of the weights: %s%v", 3+i, got.Elem, got.Dims, want.Elem, want.Dims)
		}
	}
	return nil
}

func (u *unit) bindPlanes(c *devices.Call) (devices.Launch, error) {
	n, k := c.In[0].Dims[0], c.In[0].Dims[1]
	nib, crumb, bounds := host.U8(c.Out[0]), host.U8(c.Out[1]), f32(c.Out[2])
	rows := parts[float32](bindScratch(c), u.threads, k)
	f, h := f32(c.In[0]), host.U16(c.In[0])
	size := max(1, taskElements/max(k*screen.Group, 1)) * screen.Group
	return host.Parallel(c, ceilDiv(n, size), func(task, worker int) {
		for from := task * size; from < min(n, (task+1)*size); from += screen.Group {
			screen.Pack(nib, crumb, bounds, from, n, k, func(i int) []float32 {
				row := rows[worker]
				switch c.In[0].Elem {
				case graph.F32:
					return f[i*k : (i+1)*k]
				case graph.BF16:
					u.isa.BF16ToF32(row, h[i*k:(i+1)*k])
				default:
					u.isa.F16ToF32(row, h[i*k:(i+1)*k])
				}
				return row
			})
		}
	}), nil
}

// top is a bound call of screen.top. For a row w of the head, an activation x and
// what is stored of them, ŵ = s·(u−z) and x̂ = step·q,
//
//	|w·x − ŵ·x̂| ≤ ‖ŵ‖·‖x−x̂‖ + ‖w−ŵ‖·‖x‖      (Cauchy and Schwarz)
//
// and the logit as computed is within γ·‖w‖·‖x‖ of w·x, where γ bounds the
// rounding of a sum of K products in any order (Higham, "Accuracy and Stability
// of Numerical Algorithms", §3.1). A row can be left out if the most it can be is
// less than the k-th largest of what rows are at least.
type top struct {
	isa           asm.ISA
	s, n, k, cols int
	x, y          []float32
	keep          []int32
	nib, crumb    []byte
	bounds        []float32
	dot           func(y []float32, from, to int, x []float32)

	tokens []topToken
	pairs  bool        // two tokens share a walk over the rows, each in codes of one byte
	q      [][]int8    // by token, in two bytes, or by pair of tokens
	least  [][]float32 // by token and row: what the logit is at least,
	most   [][]float32 // at most,
	sums   [][]float64 // and the sum of nibbles times activations
	peaks  [][]float32 // by token and chunk: the largest of least, or of logits
	heaps  [][]float32 // by token
	lists  [][]uint32  // by worker
	acc    [][]int32   // by worker
	codes  [][]int16   // by worker
	closer []topCloser // by worker
	looked []int       // by chunk: rows whose crumbs were read
}

// topCloser is memory for a closer look at rows of a chunk.
type topCloser struct {
	sums                []float64
	bounds, least, most []float32
}

// topToken is what screening knows of a token.
type topToken struct {
	step, sum   float64 // x̂ = step·q, sum = Σ q
	unit        float64 // of what crumbs meet: 256 for high bytes, 1 for whole codes
	low, lows   float64 // Σ l and Σ |l| of the low bytes l of q
	norm        float64 // ‖x‖
	alpha, beta float64 // factors of ‖w‖ and of ‖w−ŵ‖ in the bound
	cut         float32 // rows that are at most less than this are out
}

const (
	topRows  = 1024  // rows of a task, a chunk: whole groups
	topBlock = 16    // rows, whole groups, that pass all tokens before the next: they stay in the L1 cache
	topPairs = 4     // tokens from which on multiplying costs more than reading
	topCode  = 32000 // largest activation code of two bytes: its high byte must fit
	topByte  = 127   // of one byte
	topSeeds = 256   // most rows to multiply for a cut: one thread does it
	// hugeLogit is where sums could overflow on the way.
	hugeLogit = 1e37
	crumbMean = 1.5      // of 0 to 3
	roundUp   = 1 + 1e-6 // more than what float64 and the step to float32 round
)

func (u *unit) newTop(c *devices.Call, mem *scratch) *top {
	t := &top{isa: u.isa, s: c.In[0].Dims[0], k: c.In[0].Dims[1], n: c.In[2].Dims[0]}
	t.cols, t.pairs = screen.Columns(t.k), t.s >= topPairs
	chunks, walks := ceilDiv(t.n, topRows), t.s
	if t.pairs {
		walks = ceilDiv(t.s, 2)
	}
	t.tokens, t.looked = make([]topToken, t.s), make([]int, chunks)
	t.q = parts[int8](mem, walks, 2*t.cols+asm.ScreenSlot)
	t.least, t.most = parts[float32](mem, t.s, t.n), parts[float32](mem, t.s, t.n)
	t.sums = parts[float64](mem, t.s, t.n)
	t.peaks = parts[float32](mem, t.s, chunks)
	t.heaps = parts[float32](mem, t.s, t.n)
	t.lists = parts[uint32](mem, u.threads, asm.ScreenListLen(topRows))
	t.acc = parts[int32](mem, u.threads, 2*topRows)
	t.codes = parts[int16](mem, u.threads, t.k)
	t.closer = make([]topCloser, u.threads)
	for i := range t.closer {
		t.closer[i] = topCloser{
			part[float64](mem, topRows), part[float32](mem, topRows*screen.Bounds),
			part[float32](mem, topRows), part[float32](mem, topRows),
		}
	}
	return t
}

func (u *unit) bindTop(c *devices.Call) (devices.Launch, error) {
	t := u.newTop(c, bindScratch(c))
	t.x, t.y, t.keep = f32(c.In[0]), f32(c.Out[0]), host.I32(c.In[1])
	t.nib, t.crumb, t.bounds = host.U8(c.In[3]), host.U8(c.In[4]), f32(c.In[5])
	w, k := host.U16(c.In[2]), t.k
	if w == nil && t.n*k > 0 || t.nib == nil || t.crumb == nil || t.bounds == nil {
		return nil, fmt.Errorf("operands are not in host memory")
	}
	if k == 0 {
		return host.Serial(c, func() { clear(t.y) }), nil // equal logits are all kept
	}
	dot := u.isa.DotBF16
	if c.In[2].Elem == graph.F16 {
		dot = u.isa.DotF16
	}
	t.dot = func(y []float32, from, to int, x []float32) {
		dot(y[from:to], to-from, w[from*k:], k, x, k, to-from, 1, k)
	}
	chunks := ceilDiv(t.n, topRows)
	return host.Launch{Where: c.Where, Unread: t.unread, Phases: []host.Phase{
		{Tasks: t.s, Run: t.prepare},
		{Tasks: chunks, Run: t.nibbles},
		{Tasks: t.s, Run: t.seed},
		{Tasks: chunks, Run: t.crumbs},
		{Tasks: t.s, Run: t.cutAt},
		{Tasks: chunks, Run: t.exact},
		{Tasks: t.s, Run: t.mask},
	}}, nil
}

// unread is the bytes of crumbs that no token of the last run looked at. What
// several look at counts as often.
func (t *top) unread() int {
	rows := screen.Rows(t.n)
	for _, n := range t.looked {
		rows -= n
	}
	return max(0, rows*t.cols/4)
}

// prepare rounds a token's activations to 16 bits, or to 8.
func (t *top) prepare(i, worker int) {
	x, tok, codes := t.x[i*t.k:(i+1)*t.k], &t.tokens[i], t.codes[worker]
	most, square, lost, sum, low, lows := 0.0, 0.0, 0.0, 0, 0, 0
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
		square += float64(v) * float64(v)
	}
	*tok = topToken{step: most / topCode, unit: 256, norm: math.Sqrt(square)}
	if t.pairs {
		tok.step, tok.unit = most/topByte, 1
	}
	inv := 0.0
	if !(square < math.MaxFloat32) { // not numbers, or close to overflow: no row can be left out
		tok.step = 0
	} else if tok.step > 0 {
		inv = 1 / tok.step
	}
	for j, v := range x {
		if inv == 0 {
			codes[j] = 0
			continue
		}
		c := math.RoundToEven(float64(v) * inv)
		codes[j] = int16(c)
		sum += int(c)
		if !t.pairs {
			l := int(int8(codes[j]))
			low += l
			lows += max(l, -l)
		}
		d := float64(v) - c*tok.step
		lost += d * d
	}
	if t.pairs {
		asm.SlotI8(t.q[i/2], codes, i%2)
		if i == t.s-1 && i%2 == 0 {
			asm.SlotI8(t.q[i/2], nil, 1)
		}
	} else {
		asm.SplitI16(t.q[i][:2*t.cols], codes)
	}
	tok.sum, tok.low, tok.lows = float64(sum), float64(low), float64(lows)
	gamma := 1.01 * float64(t.k+8) / (1 << 24)
	d := math.Sqrt(lost) + 1e-9*tok.norm // differences are rounded
	if !(square < math.MaxFloat32) {
		d = math.Inf(1)
	} else if inv == 0 {
		d = tok.norm
	}
	tok.alpha = (d + gamma*tok.norm) * roundUp
	tok.beta = (d + tok.norm) * roundUp
}

// intervals says what the logits of rows are at least and at most, given what
// ŵ·x̂ is in steps, give or take blur.
func (t *top) intervals(tok *topToken, least, most []float32, steps []float64, bounds []float32, lost int, blur float64) {
	t.isa.ScreenIntervals(least, most, steps, bounds, lost, &asm.ScreenBounds{
		Step: tok.step, Alpha: tok.alpha, Beta: tok.beta, Slack: roundUp - 1, Blur: blur, Tiny: 1e-30,
		Norm: tok.norm, Huge: hugeLogit, Limit: math.MaxFloat32,
	})
}

// nibbles is the first look at a chunk of rows.
func (t *top) nibbles(task, worker int) {
	acc, ld := t.acc[worker], t.cols/2
	size := topRows
	if t.s > 1 {
		size = topBlock
	}
	first, end := task*topRows, min(t.n, (task+1)*topRows)
	for from := first; from < end; from += size {
		to := min(end, from+size)
		w, next := t.nib[from*ld:], t.nib[min(t.n, to)*ld:]
		i := 0 // of a walk
		for ; t.pairs && 2*i+asm.ScreenTokens <= t.s && (to-from)%screen.Group == 0; i += asm.ScreenTokens / 2 {
			// Together the tokens ask for the next rows.
			part := 2 * i / asm.ScreenTokens * (to - from) * ld / 4
			t.nibbles4(2*i, from, to, w, next[min(part, len(next)):], acc)
		}
		for ; i < len(t.q); i++ {
			t.isa.ScreenNibbles(acc, w, t.q[i], ceilDiv(to-from, screen.Group), t.cols/screen.NibbleBlock)
			if t.pairs {
				for j := 2 * i; j < min(t.s, 2*i+2); j++ {
					sums, base := t.sums[j][from:to], 30*t.tokens[j].sum
					for r := range sums {
						sums[r] = 4*float64(acc[2*r+j%2]) - base
					}
				}
				continue
			}
			sums, base := t.sums[i][from:to], 30*t.tokens[i].sum
			for r := range sums {
				sums[r] = 4*(256*float64(acc[2*r])+float64(acc[2*r+1])) - base
			}
		}
	}
	for i := range t.tokens {
		t.intervals(&t.tokens[i], t.least[i][first:end], t.most[i][first:end], t.sums[i][first:end], t.bounds[first*screen.Bounds:], screen.Error4, 0)
		t.peaks[i][task] = t.isa.Max(t.least[i][first:end])
	}
}

// nibbles4 is the first look of four tokens, from token i on, at a block of rows.
func (t *top) nibbles4(i, from, to int, w, next []byte, acc []int32) {
	var sums [asm.ScreenTokens][]float64
	var bases [asm.ScreenTokens]float64
	for j := range sums {
		sums[j], bases[j] = t.sums[i+j][from:to], 30*t.tokens[i+j].sum
	}
	t.isa.ScreenNibbles4(&sums, w, t.q[i/2], t.q[i/2+1], (to-from)/screen.Group, t.cols/screen.NibbleBlock, &bases, acc, next)
}

// runs calls f with the stretches of rows of a chunk that are still in.
func (t *top) runs(task, i int, f func(from, to int)) {
	most, cut := t.most[i], t.tokens[i].cut
	end := min(t.n, (task+1)*topRows)
	for r := task * topRows; r < end; r++ {
		if most[r] < cut {
			continue
		}
		from := r
		for r++; r < end && !(most[r] < cut); r++ {
		}
		f(from, r)
	}
}

// crumbs is a closer look at the rows of a chunk that are still in. In two bytes it
// leaves out the low ones: crumbs are at most crumbMean away from their middle, and
// the low bytes of all activations together make no more difference than the
// roundings.
func (t *top) crumbs(task, worker int) {
	acc, list, ld, blocks := t.acc[worker], asm.NewScreenList(t.lists[worker]), t.cols/4, t.cols/screen.CrumbBlock
	from, to := task*topRows, min(t.n, (task+1)*topRows)
	w := t.crumb[from*ld:]
	t.looked[task] = 0
	for i := range t.tokens {
		tok, least, most, sums, q := &t.tokens[i], t.least[i][from:to], t.most[i][from:to], t.sums[i][from:to], t.q
		codes := q[i%len(q)]
		if t.pairs {
			codes = q[i/2][i%2*asm.ScreenSlot:]
		}
		shift, blur := crumbMean*(tok.low-tok.sum), crumbMean*tok.lows
		bounds := t.bounds[from*screen.Bounds:]
		rows := list.Set(t.isa, most, tok.cut)
		t.looked[task] += len(rows)
		if len(rows) > (to-from)/2 { // in order and in groups
			t.looked[task] += to - from - len(rows)
			t.isa.ScreenCrumbs(acc, w, codes, ceilDiv(to-from, screen.Group), blocks)
			for r := range sums {
				sums[r] += tok.unit*float64(acc[r]) + shift
			}
			t.intervals(tok, least, most, sums, bounds, screen.Error6, blur)
		} else {
			t.isa.ScreenCrumbsList(acc, w, codes, &list, blocks)
			c := &t.closer[worker] // what is known of these rows, side by side
			for j, r := range rows {
				sums[r] += tok.unit*float64(acc[j]) + shift
				c.sums[j] = sums[r]
				copy(c.bounds[j*screen.Bounds:(j+1)*screen.Bounds], bounds[int(r)*screen.Bounds:])
			}
			t.intervals(tok, c.least[:len(rows)], c.most[:len(rows)], c.sums[:len(rows)], c.bounds, screen.Error6, blur)
			for j, r := range rows {
				least[r], most[r] = c.least[j], c.most[j]
			}
		}
		t.peaks[i][task] = t.isa.Max(least)
	}
}

// exact multiplies the rows of a chunk that could be among the wanted ones.
func (t *top) exact(task, _ int) {
	from, to := task*topRows, min(t.n, (task+1)*topRows)
	none := float32(math.Inf(-1))
	for i := range t.tokens {
		y := t.y[i*t.n : (i+1)*t.n]
		for r := from; r < to; r++ {
			y[r] = none
		}
		x := t.x[i*t.k : (i+1)*t.k]
		t.peaks[i][task] = none
		t.runs(task, i, func(from, to int) {
			t.dot(y, from, to, x)
			t.peaks[i][task] = float32(math.Inf(1))
		})
	}
}

// seed finds a cut after the first look. The rows that are largest at least are
// multiplied as they are: the k-th largest logit is no less than any of k, and much
// closer to them than to the least they could be.
func (t *top) seed(i, worker int) {
	tok := &t.tokens[i]
	tok.cut = float32(math.Inf(-1))
	t.cutAt(i, worker)
	k := int(t.keep[i])
	if math.IsInf(float64(tok.cut), -1) || k > topSeeds {
		return
	}
	x, y := t.x[i*t.k:(i+1)*t.k], t.y[i*t.n:(i+1)*t.n]
	cut, found := float32(math.Inf(1)), 0
	for c, peak := range t.peaks[i] {
		if peak < tok.cut {
			continue
		}
		for r := c * topRows; r < min(t.n, (c+1)*topRows) && found < k; r++ {
			if t.least[i][r] >= tok.cut {
				t.dot(y, r, r+1, x)
				cut = min(cut, y[r])
				found++
			}
		}
	}
	if found == k && cut > tok.cut {
		tok.cut = cut
	}
}

// cutAt finds what rows must reach to stay in.
func (t *top) cutAt(i, _ int) {
	tok, k := &t.tokens[i], int(t.keep[i])
	if k == 1 {
		tok.cut = max(tok.cut, t.isa.Max(t.peaks[i]))
	} else {
		tok.cut = max(tok.cut, t.kth(i, t.least[i], k))
	}
}

// kth is the k-th largest number of row, −Inf if there are fewer or k is below 1.
// Peaks are no less than the largest of each chunk.
func (t *top) kth(i int, row []float32, k int) float32 {
	none := float32(math.Inf(-1))
	if k < 1 || k >= len(row) {
		return none
	}
	heap := t.heaps[i][:k] // the smallest first
	for j := range heap {
		heap[j] = none
	}
	for c, peak := range t.peaks[i] {
		if !(peak > heap[0]) {
			continue
		}
		for _, v := range row[c*topRows : min(len(row), (c+1)*topRows)] {
			if v > heap[0] {
				replaceLeast(heap, v)
			}
		}
	}
	return heap[0]
}

// replaceLeast puts v in place of the smallest number of a heap.
func replaceLeast(heap []float32, v float32) {
	j, k := 0, len(heap)
	for {
		c := 2*j + 1
		if c >= k {
			break
		}
		if c+1 < k && heap[c+1] < heap[c] {
			c++
		}
		if !(heap[c] < v) {
			break
		}
		heap[j] = heap[c]
		j = c
	}
	heap[j] = v
}

// mask leaves the wanted logits.
func (t *top) mask(i, _ int) {
	y, none := t.y[i*t.n:(i+1)*t.n], float32(math.Inf(-1))
	least := t.kth(i, y, int(t.keep[i]))
	for c, peak := range t.peaks[i] {
		if peak == none {
			continue // so is all of it
		}
		chunk := y[c*topRows : min(t.n, (c+1)*topRows)]
		for r, v := range chunk {
			if !(v >= least) {
				chunk[r] = none
			}
		}
	}
}
