package cuda

import (
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// keyBlock is the positions of a block of keys in kernels/flash_cached.cuh.
const keyBlock = 64

// cachedAttention is a call of ops.CachedAttentionOp.
type cachedAttention struct {
	ops.AttentionAttrs
	tokens, hd, group  int
	size, width        int // positions of a page, pages of a sequence
	q, kc, vc, o       devices.Operand
	seq, pos, table    devices.Operand
	partSums, partMost devices.Operand // of blocks of keys
}

func newCachedAttention(c *devices.Call) cachedAttention {
	a := cachedAttention{
		AttentionAttrs: c.Attrs.(ops.AttentionAttrs),
		q:              c.In[0], kc: c.In[1], vc: c.In[2], seq: c.In[3], pos: c.In[4], table: c.In[5], o: c.Out[0],
	}
	a.tokens, a.hd, a.group = a.q.Dims[0], a.q.Dims[1]/a.Heads, a.Heads/a.KVHeads
	a.size, a.width = a.kc.Dims[1], a.table.Dims[1]
	return a
}

// padded is the width of a head in the kernels.
func (a cachedAttention) padded() int {
	if a.hd <= 64 {
		return 64
	}
	return 128
}

// blocks is the blocks of keys of the longest sequence there may be.
func (a cachedAttention) blocks() int { return (a.size*a.width + keyBlock - 1) / keyBlock }

// scale is what scores are multiplied with before they are exponents of 2.
func (a cachedAttention) scale() float32 { return float32(math.Log2E / math.Sqrt(float64(a.hd))) }

// naturalScale is what scores are multiplied with.
func (a cachedAttention) naturalScale() float32 { return float32(1 / math.Sqrt(float64(a.hd))) }

func (a cachedAttention) fits(group int) error {
	switch {
	case a.kc.Elem != graph.F16:
		return fmt.Errorf("the cache is %s, not f16", a.kc.Elem)
	case a.hd%8 != 0 || a.hd > 128:
		return fmt.Errorf("heads of %d are not up to 128 in whole copies of 16 bytes", a.hd)
	case a.group > group:
		return fmt.Errorf("more than %d query heads share a key head", group)
	case a.tokens > 65535:
		return errors.New("too many tokens")
	}
	return nil
}

// args are the arguments that all kernels have, behind pointers.
func (a cachedAttention) args() []any {
	return []any{int32(a.Heads), int32(a.group), int32(a.hd), int32(a.width), int32(a.size), int32(a.Window), a.scale()}
}

func (a cachedAttention) operands() []any { return []any{a.q, a.kc, a.vc, a.seq, a.pos, a.table, a.o} }

// mma64 is the order of the kernels that kernels/flash_cached.cuh describes.
const mma64 = "mma64"

// attentionKernels lists attention over a cache.
func (d *Device) attentionKernels() []devices.Kernel {
	op := ops.CachedAttentionOp.OpDef
	return []devices.Kernel{
		{
			Name: "attention.cached.mma64_decode", Op: op, Needs: sm80, Order: mma64,
			Accept:  func(c *devices.Call) error { return newCachedAttention(c).fits(16) },
			Cost:    d.decodeAttentionCost,
			Scratch: func(c *devices.Call) int { _, bytes := d.attentionParts(c); return bytes },
			Bind:    d.bindDecodeAttention,
		},
		{
			Name: "attention.cached.mma64_prefill", Op: op, Needs: sm80, Order: mma64,
			Accept: func(c *devices.Call) error { return newCachedAttention(c).fits(64) },
			Cost:   func(c *devices.Call) float64 { return d.prefillCost(newCachedAttention(c)) },
			Bind:   func(c *devices.Call) (devices.Launch, error) { return d.bindPrefill(newCachedAttention(c), int64(0)) },
		},
		{
			Name: "attention.cached.rows", Op: op, Needs: sm80, Order: "rows32",
			Accept: func(c *devices.Call) error {
				if a := newCachedAttention(c); a.hd > 256 {
					return fmt.Errorf("heads of %d are wider than 256", a.hd)
				}
				_, err := elemCode(c.In[1].Elem)
				return err
			},
			Cost: func(c *devices.Call) float64 {
				a := newCachedAttention(c)
				waves := max(1, float64(a.tokens*a.Heads)/float64(32*d.info.Multiprocessors))
				return launchCost + waves*float64(a.blocks()*keyBlock/2)*float64(a.hd)
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a := newCachedAttention(c)
				elem, err := elemCode(a.kc.Elem)
				if err != nil {
					return nil, err
				}
				rows := a.tokens * a.Heads
				args := append(append(a.operands(), int64(rows)), a.args()...)
				return d.bind("attention_cached_rows", shape{blocks: (rows + 3) / 4, threads: 128}, append(args, elem)...)
			},
		},
	}
}

func (d *Device) prefillCost(a cachedAttention) float64 {
	const perBlock = 2500 // nanoseconds
	tiles := float64(a.prefillTiles()*a.KVHeads) / float64(2*d.info.Multiprocessors)
	return launchCost + max(1, tiles)*float64(a.blocks())/2*perBlock
}

// bindPrefill binds attention of many tokens. If there are angles, an operand, it
// rotates the queries.
func (d *Device) bindPrefill(a cachedAttention, angles any) (devices.Launch, error) {
	sh := shape{blocks: a.KVHeads, tiles: a.prefillTiles(), threads: 128, shared: 6*keyBlock*2*a.padded() + 4*4*keyBlock}
	args := append(append(a.operands(), int32(a.tokens)), a.args()...)
	return d.bind(fmt.Sprintf("attention_prefill_%d", a.padded()), sh, append(args, angles)...)
}

// prefillTiles is the blocks of threads for one key head.
func (a cachedAttention) prefillTiles() int {
	fit := 64 / a.group
	return (a.tokens + fit - 1) / fit
}

// keySplits is how many blocks of threads share the keys of one token and head:
// enough to fill the GPU. The bits do not depend on it.
func (d *Device) keySplits(a cachedAttention) int {
	return max(1, min(a.blocks(), 2*d.info.Multiprocessors/(a.tokens*a.KVHeads)))
}

// attentionParts places the sums of blocks of keys in scratch memory.
func (d *Device) attentionParts(c *devices.Call) (a cachedAttention, bytes int) {
	a = newCachedAttention(c)
	if d.keySplits(a) == 1 {
		return a, 0
	}
	rows := a.tokens * a.Heads * a.blocks()
	a.partSums = devices.Operand{Elem: graph.F32, Dims: []int{rows, a.hd}, Buf: c.Scratch.Buf, Off: c.Scratch.Off}
	at := (a.partSums.Bytes() + devices.Align - 1) / devices.Align * devices.Align
	a.partMost = devices.Operand{Elem: graph.F32, Dims: []int{rows, 2}, Buf: c.Scratch.Buf, Off: c.Scratch.Off + at}
	return a, at + a.partMost.Bytes()
}

func (d *Device) decodeAttentionCost(c *devices.Call) float64 {
	a := newCachedAttention(c)
	const perBlock = 1200 // nanoseconds
	work := float64(a.tokens*a.KVHeads*a.blocks()) / 2 / float64(2*d.info.Multiprocessors)
	return launchCost + max(1, work)*perBlock
}

// decodeShared is the shared memory of kernels/flash_decode.cuh for heads of w.
func decodeShared(w int) int { return 32*2*w + 4*keyBlock*2*w + 2*16*128 + 4*16*4 }

func (d *Device) bindDecodeAttention(c *devices.Call) (devices.Launch, error) {
	a, bytes := d.attentionParts(c)
	splits := d.keySplits(a)
	w := a.padded()
	sh := shape{
		blocks: splits, tiles: a.KVHeads, layers: a.tokens,
		threads: 128, shared: decodeShared(w),
	}
	args := append(a.operands(), int64(0), int64(0), int64(0))
	if bytes > 0 {
		tickets, err := d.newTickets(a.tokens * a.KVHeads)
		if err != nil {
			return nil, err
		}
		args = append(a.operands(), a.partSums, a.partMost, tickets)
	}
	args = append(append(args, a.args()...), int32(a.blocks()))
	return d.bindEarly(fmt.Sprintf("attention_decode_%d", w), sh, args...)
}

// ticketsOfChunk is how many tickets share an allocation.
const ticketsOfChunk = 1 << 16

// newTickets returns n zeros for one launch alone, at which its blocks of threads
// find out who is last, and which it leaves as zeros. They live as long as the
// device.
func (d *Device) newTickets(n int) (devices.Operand, error) {
	d.tickets.Lock()
	defer d.tickets.Unlock()
	align := devices.Align / graph.I32.Size()
	size := (n + align - 1) / align * align
	if d.tickets.used%ticketsOfChunk+size > ticketsOfChunk {
		d.tickets.used = (d.tickets.used + ticketsOfChunk - 1) / ticketsOfChunk * ticketsOfChunk
	}
	o := devices.Operand{Elem: graph.I32, Dims: []int{n}, Off: d.tickets.used % ticketsOfChunk * graph.I32.Size()}
	if size > ticketsOfChunk {
		return o, fmt.Errorf("%d tickets are more than %d", n, ticketsOfChunk)
	}
	var err error
	o.Buf, err = d.constant(fmt.Sprintf("tickets.%d", d.tickets.used/ticketsOfChunk), ticketsOfChunk*graph.I32.Size(), func([]byte) {})
	if err == nil {
		d.tickets.used += size
	}
	return o, err
}
