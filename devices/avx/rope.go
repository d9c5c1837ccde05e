package avx

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

func (u *unit) ropeKernels() []devices.Kernel {
	return []devices.Kernel{
		u.row(devices.Kernel{
			Name: "rope.f32", Op: ops.RoPEOp.OpDef, Order: "each",
			InPlace: []graph.Update{{In: 0, Out: 0}},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := c.Attrs.(ops.RoPEAttrs)
				x, pos, y, d := f32(c.In[0]), host.I32(c.In[1]), f32(c.Out[0]), c.In[0].Last()
				table := u.angles.table(a.Theta, a.HeadDim)
				return rowChunks(c, c.In[0].Rows(), d, func(from, to int) {
					for t := from; t < to; t++ {
						u.rotate(y[t*d:(t+1)*d], x[t*d:(t+1)*d], table.at(int(pos[t])), a.Inverse)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fused.rope_append", Op: bitlinear.RoPEAppendOp.OpDef, Order: "each",
			InPlace: []graph.Update{{In: 2, Out: 0}},
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				parts[float32](s, u.threads, c.In[3].Last())
				return s.size
			},
			Bind: u.bindRoPEAppend,
		}),
	}
}

// bindRoPEAppend rotates queries, and keys on their way into the cache.
func (u *unit) bindRoPEAppend(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(bitlinear.RoPEAppendAttrs)
	q, k, v, qr := f32(c.In[2]), f32(c.In[3]), f32(c.In[4]), f32(c.Out[0])
	seq, pos := host.I32(c.In[5]), host.I32(c.In[6])
	pages := pagesOf(c.In[0], c.In[7])
	keys, values := u.newCache(c.In[0]), u.newCache(c.In[1])
	table := u.angles.table(a.Theta, a.HeadDim)
	temps := parts[float32](bindScratch(c), u.threads, c.In[3].Last())
	n, dq, dk := c.In[2].Dims[0], c.In[2].Last(), c.In[3].Last()
	size := max(1, taskElements/max(1, dq+2*dk))
	return host.Parallel(c, ceilDiv(n, size), func(task, worker int) {
		kr := temps[worker]
		for t := task * size; t < min(n, (task+1)*size); t++ {
			cs := table.at(int(pos[t]))
			u.rotate(qr[t*dq:(t+1)*dq], q[t*dq:(t+1)*dq], cs, false)
			u.rotate(kr, k[t*dk:(t+1)*dk], cs, false)
			row := cacheRow(&pages, t, seq[t], pos[t])
			keys.store(row, kr)
			values.store(row, v[t*dk:(t+1)*dk])
		}
	}), nil
}

// rotate turns every head of a row by the angles of one position, half-split:
// the same operations as the op's reference, so the same bits.
func (u *unit) rotate(y, x []float32, cs []float32, inverse bool) {
	half := len(cs) / 2
	if half == 0 {
		return
	}
	cos, sin := cs[:half], cs[half:2*half]
	for h := 0; h+2*half <= len(x); h += 2 * half {
		u.isa.Rotate(y[h:h+2*half], x[h:h+2*half], cos, sin, inverse)
	}
}

// angles holds the cosines and sines of rotary embeddings, shared by all layers
// and steps of a device: computing them anew for every layer would cost more
// than the rotation.
type angles struct {
	mu     sync.Mutex
	tables map[angleKey]*angleTable
}

type angleKey struct {
	theta   float64
	headDim int
}

func newAngles() *angles { return &angles{tables: map[angleKey]*angleTable{}} }

func (a *angles) table(theta float64, headDim int) *angleTable {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := angleKey{theta, headDim}
	t := a.tables[k]
	if t == nil {
		t = &angleTable{theta: theta, headDim: headDim, freq: make([]float32, headDim/2)}
		for i := range t.freq {
			t.freq[i] = ops.RoPEFreq(theta, headDim, i)
		}
		a.tables[k] = t
	}
	return t
}

const (
	angleBlock  = 256 // positions computed at a time
	angleBlocks = 1024
)

// angleTable computes blocks of positions when they are first needed. Two
// workers may compute the same block; they get the same values.
type angleTable struct {
	theta   float64
	headDim int
	freq    []float32
	blocks  [angleBlocks]atomic.Pointer[[]float32]
}

// at returns the cosines, then the sines, of a position: headDim values.
func (t *angleTable) at(pos int) []float32 {
	b := pos / angleBlock
	if pos < 0 || b >= angleBlocks {
		out := make([]float32, t.headDim)
		t.fill(out, pos)
		return out
	}
	p := t.blocks[b].Load()
	if p == nil {
		block := make([]float32, angleBlock*t.headDim)
		for i := range angleBlock {
			t.fill(block[i*t.headDim:(i+1)*t.headDim], b*angleBlock+i)
		}
		p = &block
		t.blocks[b].Store(p)
	}
	return (*p)[pos%angleBlock*t.headDim:][:t.headDim]
}

func (t *angleTable) fill(cs []float32, pos int) {
	half := t.headDim / 2
	for i, f := range t.freq {
		s, c := math.Sincos(float64(float32(pos) * f))
		cs[i], cs[half+i] = float32(c), float32(s)
	}
}
