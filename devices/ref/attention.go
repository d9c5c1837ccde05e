package ref

import (
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// cachedAttention runs one task for each token and head.
func cachedAttention(threads int) devices.Kernel {
	// Each worker has the scores of the whole context, the sums of one head and a
	// widened row of one head.
	width := func(c *devices.Call) int {
		return align8(c.In[5].Last()*c.In[1].Dims[1] + 2*c.In[0].Last())
	}
	return devices.Kernel{
		Name: "attention_cached.f64.go", Op: ops.CachedAttentionOp.OpDef,
		Cost: func(c *devices.Call) float64 {
			return 2 * float64(c.In[0].Len()) * float64(c.In[5].Last()*c.In[1].Dims[1])
		},
		Scratch: func(c *devices.Call) int { return threads * width(c) * 8 },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			a, ok := c.Attrs.(ops.AttentionAttrs)
			if !ok {
				return nil, errors.New("attributes of another op")
			}
			x := attend{
				AttentionAttrs: a, k: cacheOf(c.In[1]), v: cacheOf(c.In[2]), q: host.F32(c.In[0]), seq: host.I32(c.In[3]), pos: host.I32(c.In[4]), o: host.F32(c.Out[0]),
				hd:    c.In[0].Last() / a.Heads,
				pages: ops.Pages{Blocks: c.In[1].Dims[0], Size: c.In[1].Dims[1], Width: c.In[5].Last(), Table: host.I32(c.In[5])},
			}
			scratch, tmp, w := f64(c.Scratch), f32(c.Scratch), width(c)
			return host.Parallel(c, len(x.seq)*a.Heads, func(task, worker int) {
				mine := scratch[worker*w:][:w]
				// The last hd places take a widened row instead: as f32, half of them.
				x.run(task, mine[:w-x.hd], tmp[2*((worker+1)*w-x.hd):][:x.hd])
			}), nil
		},
	}
}

// attend is what a task of attention reads and writes.
type attend struct {
	ops.AttentionAttrs
	k, v     floats
	q, o     []float32
	seq, pos []int32
	hd       int
	pages    ops.Pages
}

func cacheOf(o devices.Operand) floats {
	return floats{elem: o.Elem, f32: host.F32(o), u16: host.U16(o)}
}

// run computes one head of one token. The scratch takes the head's sums and then
// the scores.
func (x *attend) run(task int, scratch []float64, tmp []float32) {
	i, h := task/x.Heads, task%x.Heads
	at := h / (x.Heads / x.KVHeads)
	seq, pos := int(x.seq[i]), int(x.pos[i])
	first := 0
	if x.Window > 0 {
		first = max(0, pos-x.Window+1)
	}
	if _, err := x.pages.Row(seq, pos); err != nil {
		host.Fail(fmt.Errorf("token %d: %w", i, err))
	}
	acc, p := scratch[:x.hd], scratch[x.hd:]
	q := x.q[task*x.hd:][:x.hd]
	scale := 1 / math.Sqrt(float64(x.hd))
	most := math.Inf(-1)
	for t := first; t <= pos; t++ {
		row, err := x.pages.Row(seq, t)
		if err != nil {
			host.Fail(fmt.Errorf("token %d: %w", i, err))
		}
		var dot float64
		for c, v := range x.k.slice((row*x.KVHeads+at)*x.hd, x.hd, tmp) {
			dot += float64(q[c]) * float64(v)
		}
		p[t-first] = dot * scale
		most = max(most, dot*scale)
	}
	var sum float64
	clear(acc)
	for t := first; t <= pos; t++ {
		row, _ := x.pages.Row(seq, t) // checked above
		e := math.Exp(p[t-first] - most)
		sum += e
		for c, v := range x.v.slice((row*x.KVHeads+at)*x.hd, x.hd, tmp) {
			acc[c] += e * float64(v)
		}
	}
	for c, v := range acc {
		x.o[task*x.hd+c] = float32(v / sum)
	}
}
