package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

func (u *unit) cacheKernels() []devices.Kernel {
	return []devices.Kernel{
		u.appendCodesKernel(),
		u.row(devices.Kernel{
			Name: "kv.append", Op: ops.KVAppendOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				k, v := f32(c.In[2]), f32(c.In[3])
				seq, pos := host.I32(c.In[4]), host.I32(c.In[5])
				pages := pagesOf(c.In[0], c.In[6])
				keys, values := u.newCache(c.In[0]), u.newCache(c.In[1])
				d := c.In[2].Last()
				return rowChunks(c, c.In[2].Dims[0], 2*d, func(from, to int) {
					for t := from; t < to; t++ {
						row := cacheRow(&pages, t, seq[t], pos[t])
						keys.store(row, k[t*d:(t+1)*d])
						values.store(row, v[t*d:(t+1)*d])
					}
				}), nil
			},
		}),
	}
}

// attendKernels is attention over the cache. Instruction sets differ in speed
// only.
func (u *unit) attendKernels() []devices.Kernel {
	return []devices.Kernel{
		u.attendCodesKernel(),
		u.row(devices.Kernel{
			Name: "attention.cached.split256", Op: ops.CachedAttentionOp.OpDef, Order: "split256",
			Cost: func(c *devices.Call) float64 {
				// Half the cache, on average.
				rate := 20.0
				if u.isa == asm.AVX512 {
					rate = 30
				}
				return costCall + float64(c.In[0].Len())*float64(c.In[5].Last()*c.In[1].Dims[1])/rate
			},
			Scratch: func(c *devices.Call) int {
				s := &scratch{}
				u.newAttend(c, floatOperands, s)
				return s.size
			},
			Bind: u.bindAttend,
		}),
	}
}

// pagesOf describes the paged cache kc [B,P,W] under a block table [Q,T].
func pagesOf(kc, table devices.Operand) ops.Pages {
	return ops.Pages{Blocks: kc.Dims[0], Size: kc.Dims[1], Width: table.Dims[1], Table: host.I32(table)}
}

// cacheRow finds token t's row of the cache, or ends the launch.
func cacheRow(p *ops.Pages, t int, seq, pos int32) int {
	row, err := p.Row(int(seq), int(pos))
	if err != nil {
		host.Fail(fmt.Errorf("token %d: %w", t, err))
	}
	return row
}

// cache is the keys or the values of a paged cache, in any element type.
type cache struct {
	isa  asm.ISA
	elem graph.DType
	w    int // elements in a row: all heads
	f    []float32
	h    []uint16
	raw  []byte
}

func (u *unit) newCache(o devices.Operand) cache {
	return cache{isa: u.isa, elem: o.Elem, w: o.Last(), f: host.F32(o), h: host.U16(o), raw: host.Bytes(o, o.Bytes())}
}

// store rounds one token's heads to row.
func (c *cache) store(row int, src []float32) {
	at := row * c.w
	switch c.elem {
	case graph.F32:
		copy(c.f[at:at+c.w], src)
	case graph.BF16:
		c.isa.F32ToBF16(c.h[at:at+c.w], src)
	case graph.F16:
		c.isa.F32ToF16(c.h[at:at+c.w], src)
	}
}

// load widens elements of row from column col.
func (c *cache) load(dst []float32, row, col int) {
	at := row*c.w + col
	switch c.elem {
	case graph.F32:
		copy(dst, c.f[at:])
	case graph.BF16:
		c.isa.BF16ToF32(dst, c.h[at:])
	case graph.F16:
		c.isa.F16ToF32(dst, c.h[at:])
	}
}

// rows is the memory of n rows.
func (c *cache) rows(row, n int) []byte {
	size := c.elem.Size() * c.w
	return c.raw[row*size:][:n*size]
}

// dot multiplies m rows of x with n consecutive rows of the cache, of which it
// reads hd elements from column col: y[m,n] with distances ldy and ldx.
func (c *cache) dot(y []float32, ldy int, row, col, n int, x []float32, ldx, m, hd int) {
	at := row*c.w + col
	switch c.elem {
	case graph.F32:
		c.isa.DotF32(y, ldy, c.f[at:], c.w, x, ldx, n, m, hd)
	case graph.BF16:
		c.isa.DotBF16(y, ldy, c.h[at:], c.w, x, ldx, n, m, hd)
	case graph.F16:
		c.isa.DotF16(y, ldy, c.h[at:], c.w, x, ldx, n, m, hd)
	}
}

// accum adds Σ p[h,j]·row j, for n consecutive rows from column col, to the hd
// elements of each of m heads of dst. lddst and ldp are the distances of heads.
func (c *cache) accum(dst []float32, lddst int, p []float32, ldp, row, col, n, m, hd int) {
	at := row*c.w + col
	switch c.elem {
	case graph.F32:
		c.isa.HeadsF32(dst, lddst, p, ldp, c.f[at:], c.w, n, m, hd)
	case graph.BF16:
		c.isa.HeadsBF16(dst, lddst, p, ldp, c.h[at:], c.w, n, m, hd)
	case graph.F16:
		c.isa.HeadsF16(dst, lddst, p, ldp, c.h[at:], c.w, n, m, hd)
	}
}
