package avx

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// codes is what attention over a cache of codes adds to a call. Queries, and the
// weights of positions times their steps, become integers of 16 bits, each row
// relative to its largest; so products with codes are exact, and off by 2⁻¹⁶ of the
// largest at most, far less than the codes are. Sums of a span are integers: every
// way to compute them has the same bits.
type codes struct {
	pages                ops.CodePages
	keys, values         []int8
	valueBytes           []byte // the same
	keyStepBytes         []byte
	valueStepBytes       []byte
	keySteps, valueSteps []float32

	ld     int       // positions of a span, and of the blocks at its ends
	q      []int16   // [S,H*hd]
	scales []float32 // [S,H]: steps of q
}

// codesWork is the scratch of one worker. Rows of heads are ld apart.
type codesWork struct {
	scores  []float32 // [H,ld]
	factors []int16   // [H,ld]
	steps   []float32 // [ld] of the values of one key head
	sums    []int32   // [H,hd]
	worth   []float32 // [H]: steps of factors
}

// codesOperands of attention.cached.i8: seq, pos and table follow the caches.
const codesOperands = 5

func acceptCodes(c *devices.Call) error {
	if a, ok := c.Attrs.(ops.AttentionAttrs); !ok || c.In[0].Last()/a.Heads > asm.CodesHead {
		return fmt.Errorf("heads of more than %d channels", asm.CodesHead)
	}
	return nil
}

func (u *unit) appendCodesKernel() devices.Kernel {
	layout := func(c *devices.Call, s *scratch) [][]int8 { return parts[int8](s, u.threads, c.In[4].Last()) }
	return u.row(devices.Kernel{
		Name: "kv.append.i8", Op: ops.KVAppendCodesOp.OpDef, Order: "each",
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			layout(c, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			rows := layout(c, bindScratch(c))
			pages := ops.NewCodePages(c.In[0].Dims, c.In[1].Dims, c.In[8].Dims[1], host.I32(c.In[8]))
			keys, keySteps, values, valueSteps := host.I8(c.In[0]), f32(c.In[1]), host.I8(c.In[2]), f32(c.In[3])
			k, v, d := f32(c.In[4]), f32(c.In[5]), c.In[4].Last()
			seq, pos := host.I32(c.In[6]), host.I32(c.In[7])
			n, hd := c.In[4].Dims[0], pages.HeadDim
			size := max(1, taskElements/max(2*d, 1))
			return host.Parallel(c, ceilDiv(n, size), func(task, worker int) {
				q := rows[worker]
				for t := task * size; t < min(n, (task+1)*size); t++ {
					row := cacheRow(&pages.Pages, t, seq[t], pos[t])
					for h := range pages.KVHeads {
						s, _ := u.isa.QuantizeI8(q[h*hd:(h+1)*hd], k[t*d+h*hd:][:hd])
						keySteps[pages.Step(row, h)] = 1 / s
					}
					at, far := pages.Key(row, 0), 4*pages.Size
					for i := 0; i < d; i += 4 {
						copy(keys[at:at+4], q[i:i+4])
						at += far
					}
					for h := range pages.KVHeads {
						s, _ := u.isa.QuantizeI8(q[:hd], v[t*d+h*hd:][:hd])
						valueSteps[pages.Step(row, h)] = 1 / s
						for from := 0; from < hd; from += 32 {
							at := pages.Value(row, h*hd+from)
							for i, code := range q[from:min(from+32, hd)] {
								values[at+4*i] = code
							}
						}
					}
				}
			}), nil
		},
	})
}

func (u *unit) attendCodesKernel() devices.Kernel {
	return u.row(devices.Kernel{
		Name: "attention.cached.i8.split256", Op: ops.CachedAttentionCodesOp.OpDef, Order: "split256", Accept: acceptCodes,
		Cost: func(c *devices.Call) float64 {
			rate := 30.0
			if u.isa == asm.AVX512 {
				rate = 60
			}
			return costCall + float64(c.In[0].Len())*float64(c.In[7].Last()*c.In[1].Dims[1])/rate
		},
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newAttend(c, codesOperands, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			if c.Attrs.(ops.AttentionAttrs).KVHeads != c.In[2].Last() {
				return nil, errors.New("the cache has steps for another number of heads")
			}
			at := u.newAttend(c, codesOperands, bindScratch(c))
			g := at.codes
			g.keys, g.keySteps, g.values, g.valueSteps = host.I8(c.In[1]), f32(c.In[2]), host.I8(c.In[3]), f32(c.In[4])
			g.valueBytes = host.Bytes(c.In[3], c.In[3].Bytes())
			g.keyStepBytes, g.valueStepBytes = host.Bytes(c.In[2], c.In[2].Bytes()), host.Bytes(c.In[4], c.In[4].Bytes())
			l := at.launch(c)
			size := max(1, taskElements/max(c.In[0].Last(), 1))
			quantize := host.Phase{Tasks: ceilDiv(at.s, size), Run: func(task, _ int) {
				for i := task * size * at.a.Heads; i < min(at.s, (task+1)*size)*at.a.Heads; i++ {
					g.scales[i] = at.isa.QuantizeI16(g.q[i*at.hd:(i+1)*at.hd], at.q[i*at.hd:][:at.hd])
				}
			}}
			l.Phases = append([]host.Phase{quantize}, l.Phases...)
			return l, nil
		},
	})
}

// newCodes lays out what a call over codes needs besides.
func (u *unit) newCodes(c *devices.Call, at *attend, s *scratch) *codes {
	table := c.In[codesOperands+2]
	g := &codes{pages: ops.NewCodePages(c.In[1].Dims, c.In[2].Dims, table.Dims[1], nil)}
	if table.Buf != nil {
		g.pages.Table = host.I32(table)
	}
	g.ld = splitLen + 2*g.pages.Size
	g.q, g.scales = part[int16](s, at.s*at.a.Heads*at.hd), part[float32](s, at.s*at.a.Heads)
	for i := range at.work {
		w := &at.work[i].codes
		w.scores, w.factors = part[float32](s, at.a.Heads*g.ld), part[int16](s, at.a.Heads*g.ld)
		w.steps, w.sums, w.worth = part[float32](s, g.ld), part[int32](s, at.a.Heads*at.hd), part[float32](s, at.a.Heads)
	}
	return g
}

// codesAhead is how many heads' parts of a block ahead memory is asked for.
const codesAhead = 1

// far is how many bytes ahead of a head's part of a block the part lies that will be
// read codesAhead parts later.
func (g *codes) far(block, next, kv, part int, ahead bool) int {
	if !ahead {
		return 0
	}
	if kv+codesAhead < g.pages.KVHeads {
		return codesAhead * part
	}
	return (next - block - g.pages.KVHeads + codesAhead) * part
}

// span fills the states, ld apart, of the key heads [from,to) for token t and
// positions [a,b), which lie in one span. With ahead set it asks for the next block
// while it works on one.
func (g *codes) span(at *attend, w *codesWork, states []float32, ld, t, from, to, a, b int, ahead bool) {
	size, hd, kvs := g.pages.Size, at.hd, g.pages.KVHeads
	part := size * hd // codes of a head in a block
	first := a / size * size
	last := (b - 1) / size * size
	row := func(p int) int { return cacheRow(&g.pages.Pages, t, at.seq[t], int32(p)) / size * kvs }
	for p := first; p < b; p += size {
		block, next := row(p), row(min(p+size, last))
		if ahead {
			at.isa.Prefetch(g.valueStepBytes[4*block*size:][:4*kvs*size])
			at.isa.Prefetch(g.keyStepBytes[4*next*size:][:4*kvs*size])
		}
		for kv := from; kv < to; kv++ {
			i, h := block+kv, t*at.a.Heads+kv*at.group
			at.isa.CodesDot(w.scores[(kv-from)*at.group*g.ld+p-first:], g.ld, g.keys[i*part:][:part], g.q[h*hd:], hd, g.keySteps[i*size:][:size], g.scales[h:][:at.group], hd, g.far(block, next, kv, part, ahead))
		}
	}
	for kv := from; kv < to; kv++ {
		for p := first; p < b; p += size {
			copy(w.steps[p-first:][:size], g.valueSteps[(row(p)+kv)*size:])
		}
		for h := (kv - from) * at.group; h < (kv-from+1)*at.group; h++ {
			scores, factors := w.scores[h*g.ld:][a-first:b-first], w.factors[h*g.ld:][:last+size-first]
			at.weights(states[h*ld:][:at.stateLen()], scores)
			at.isa.Mul(scores, scores, w.steps[a-first:b-first])
			clear(factors[:a-first])
			w.worth[h] = at.isa.QuantizeI16(factors[a-first:b-first], scores)
			clear(factors[b-first:])
		}
	}
	clear(w.sums[:(to-from)*at.group*hd])
	for p := first; p < b; p += size {
		block, next := row(p), row(min(p+size, last))
		for kv := from; kv < to; kv++ {
			h := (kv - from) * at.group
			at.isa.CodesAccum(w.sums[h*hd:], hd, w.factors[h*g.ld+p-first:], g.ld, g.values[(block+kv)*part:][:part], size, at.group, hd, g.far(block, next, kv, part, ahead))
		}
	}
	for h := range (to - from) * at.group {
		at.isa.Rescale(states[h*ld:][:hd], w.sums[h*hd:][:hd], w.worth[h])
	}
}
