package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// stepTokens is how many tokens a step has at most whose attention appends to the
// cache itself; see kernels/attend_step.cu.
const stepTokens = 64

// stepKernels are rows of fused.rope_attend: one kernel for few tokens, otherwise
// append and attention, one after the other.
func (d *Device) stepKernels() []devices.Kernel {
	op := bitlinear.RoPEAttendOp.OpDef
	rows := []devices.Kernel{{
		Name: "fused.rope_attend.mma64", Op: op, Needs: sm80, Order: mma64,
		Accept: func(c *devices.Call) error {
			a := stepAttention(c)
			if a.tokens > stepTokens {
				return fmt.Errorf("more than %d tokens", stepTokens)
			}
			return errors.Join(a.fits(16), anglesFit(c))
		},
		Cost: func(c *devices.Call) float64 { return d.decodeAttentionCost(attentionCall(c)) - launchCost },
		Scratch: func(c *devices.Call) int {
			if _, ok := d.stagedForm(stepAttention(c)); ok {
				return 0
			}
			_, n := d.attentionParts(attentionCall(c))
			return n
		},
		Bind: d.bindStep,
	}, {
		Name: "fused.rope_attend.mma64.prompt", Op: op, Needs: sm80, Order: mma64,
		Accept: func(c *devices.Call) error {
			a := stepAttention(c)
			if a.hd%16 != 0 {
				return fmt.Errorf("half a head of %d is not whole copies of 16 bytes", a.hd)
			}
			return errors.Join(a.fits(64), anglesFit(c))
		},
		Cost: func(c *devices.Call) float64 { return launchCost + d.prefillCost(stepAttention(c)) },
		Bind: d.bindPrompt,
	}}
	for _, order := range []string{mma64, "rows32"} {
		rows = append(rows, devices.Kernel{
			Name: "fused.rope_attend." + order + ".apart", Op: op, Needs: sm80, Order: order,
			Accept: func(c *devices.Call) error {
				_, err := d.attentionOf(attentionCall(c), order)
				return errors.Join(anglesFit(c), err)
			},
			Cost: func(c *devices.Call) float64 {
				k, err := d.attentionOf(attentionCall(c), order)
				if err != nil {
					return 0
				}
				return launchCost + k.Cost(attentionCall(c))
			},
			Scratch: func(c *devices.Call) int {
				bytes := queryBytes(c)
				if k, err := d.attentionOf(attentionCall(c), order); err == nil && k.Scratch != nil {
					bytes += k.Scratch(attentionCall(c))
				}
				return bytes
			},
			Bind: func(c *devices.Call) (devices.Launch, error) { return d.bindStepApart(c, order) },
		})
	}
	return rows
}

// appendAttrs are those of a rope_attend's first part.
func appendAttrs(c *devices.Call) bitlinear.RoPEAppendAttrs {
	a := c.Attrs.(bitlinear.RoPEAttendAttrs)
	return bitlinear.RoPEAppendAttrs{Theta: a.Theta, HeadDim: a.HeadDim}
}

func anglesFit(c *devices.Call) error {
	inner := *c
	inner.Attrs = appendAttrs(c)
	if n := angleBytes(&inner); n > maxAngles {
		return fmt.Errorf("a table of angles for the positions of this cache takes %s", size(n))
	}
	return rowsFit(c.In[2])
}

// attentionCall is the attention of a rope_attend, of queries that are not yet
// rotated.
func attentionCall(c *devices.Call) *devices.Call {
	return &devices.Call{Op: ops.CachedAttentionOp.OpDef, Attrs: c.Attrs.(bitlinear.RoPEAttendAttrs).Attention(), Where: c.Where, Scratch: c.Scratch,
		In: []devices.Operand{c.In[2], c.In[0], c.In[1], c.In[5], c.In[6], c.In[7]}, Out: c.Out[:1:1]}
}

func stepAttention(c *devices.Call) cachedAttention { return newCachedAttention(attentionCall(c)) }

// attentionOf is the cheapest kernel of an order for a call.
func (d *Device) attentionOf(c *devices.Call, order string) (devices.Kernel, error) {
	var best devices.Kernel
	err := errors.New("no attention of this order")
	for _, k := range d.kernels {
		if k.Op != c.Op || k.Order != order || !d.hasAll(k.Needs) {
			continue
		}
		if no := k.Accept(c); no != nil {
			err = no
		} else if best.Op == nil || k.Cost(c) < best.Cost(c) {
			best = k
		}
	}
	if best.Op != nil {
		err = nil
	}
	return best, err
}

// queryBytes is the scratch memory of rotated queries.
func queryBytes(c *devices.Call) int {
	return (c.In[2].Bytes() + devices.Align - 1) / devices.Align * devices.Align
}

func (d *Device) bindStepApart(c *devices.Call, order string) (devices.Launch, error) {
	turned := c.In[2]
	turned.Buf, turned.Off = c.Scratch.Buf, c.Scratch.Off
	first, err := d.bindRoPEAppend(&devices.Call{Op: bitlinear.RoPEAppendOp.OpDef, Attrs: appendAttrs(c), Where: c.Where, In: c.In,
		Out: []devices.Operand{turned, c.Out[1], c.Out[2]}})
	if err != nil {
		return nil, err
	}
	call := attentionCall(c)
	call.In[0] = turned
	k, err := d.attentionOf(call, order)
	if err != nil {
		return nil, err
	}
	call.Scratch.Off += queryBytes(c)
	then, err := k.Bind(call)
	if err != nil {
		return nil, err
	}
	return several{first.(work), then.(work)}, nil
}

// bindPrompt appends keys, and leaves the rotation of queries to the attention.
func (d *Device) bindPrompt(c *devices.Call) (devices.Launch, error) {
	inner := *c
	inner.Attrs = appendAttrs(c)
	angles, err := d.angles(appendAttrs(c), angleBytes(&inner))
	if err != nil {
		return nil, err
	}
	a := stepAttention(c)
	first, err := d.bind("attention_append", shape{blocks: a.tokens, threads: 128}, c.In[0], c.In[1], c.In[3], c.In[4], c.In[5], c.In[6], c.In[7], angles,
		int32(c.In[3].Last()), int32(a.hd/2), int32(a.table.Dims[0]), int32(a.width), int32(a.kc.Dims[0]), int32(a.size))
	if err != nil {
		return nil, err
	}
	then, err := d.bindPrefill(a, angles)
	if err != nil {
		return nil, err
	}
	return several{first.(work), then.(work)}, nil
}

// Sizes of kernels/attend_staged.cuh.
const (
	joinedParts = 8 // parts of a row that are read at once
	stagedRows  = 8 // query heads of a key head, at most
)

// staged is a form of attention of a step for GPUs where copies run by themselves.
type staged struct {
	name   string // of the kernel
	blocks int    // of threads, a cluster, for each token and key head
	stages int    // blocks of keys and values that one asks for at once
	parts  int    // blocks of keys whose sums a cluster joins at once
}

// clusterKernel begins the name of kernels in clusters of 16 blocks, which are more than
// every GPU has to allow.
const clusterKernel = "attend_cluster"

// stagedForm says whether there is such a form that is better than attend_step, as measured
// on an H100: where tokens are few, a cluster shares the keys of a head; where heads fill the
// GPU, or have no keys to share, a block has them alone.
func (d *Device) stagedForm(a cachedAttention) (staged, bool) {
	if !d.Has(sm90a) || a.group > stagedRows {
		return staged{}, false
	}
	switch all, fit := a.tokens*a.KVHeads, d.info.Multiprocessors; {
	case a.blocks() == 1 || all*8 > 15*fit:
		return staged{"attend_alone", 1, 2, 0}, true
	case all*16 <= 5*fit:
		return staged{clusterKernel, 16, 1, min(64, a.blocks())}, true
	}
	return staged{}, false
}

// shared is the shared memory of a block of threads, for heads of w.
func (s staged) shared(w, group int) int {
	row := 2*w + 16
	bytes := 2*stagedRows*row + s.stages*2*keyBlock*row + 2*keyBlock*stagedRows*2 + 4*stagedRows*4
	if s.blocks > 1 {
		bytes += ceilDiv(group, 2) * ceilDiv(s.parts, joinedParts) * joinedParts * (8*w/s.blocks + 16)
	}
	return bytes
}

func (d *Device) bindStep(c *devices.Call) (devices.Launch, error) {
	attrs := appendAttrs(c)
	inner := *c
	inner.Attrs = attrs
	angles, err := d.angles(attrs, angleBytes(&inner))
	if err != nil {
		return nil, err
	}
	args := []any{c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5], c.In[6], c.In[7], angles, c.Out[0]}
	call := attentionCall(c)
	if form, ok := d.stagedForm(newCachedAttention(call)); ok {
		return d.bindStaged(newCachedAttention(call), form, args)
	}
	a, bytes := d.attentionParts(call)
	w := a.padded()
	sh := shape{
		blocks: d.keySplits(a), tiles: a.KVHeads, layers: a.tokens,
		threads: 128, shared: 32*2*w + 4*keyBlock*2*w + 2*16*128 + 4*16*4,
	}
	if bytes > 0 {
		tickets, err := d.newTickets(a.tokens * a.KVHeads)
		if err != nil {
			return nil, err
		}
		args = append(args, a.partSums, a.partMost, tickets)
	} else {
		args = append(args, int64(0), int64(0), int64(0))
	}
	args = append(args, int32(a.tokens), int32(a.Heads), int32(a.group), int32(a.hd), int32(a.table.Dims[0]), int32(a.width), int32(a.kc.Dims[0]),
		int32(a.size), int32(a.Window), a.scale(), int32(a.blocks()))
	return d.bindEarly(fmt.Sprintf("attend_step_%d", w), sh, args...)
}

func (d *Device) bindStaged(a cachedAttention, form staged, args []any) (devices.Launch, error) {
	w := a.padded()
	sh := shape{blocks: form.blocks, tiles: a.KVHeads, layers: a.tokens, threads: 128, shared: form.shared(w, a.group)}
	bound, err := d.bindEarly(fmt.Sprintf("%s_%d", form.name, w), sh, append(args, int32(a.tokens), int32(a.Heads), int32(a.group), int32(a.hd),
		int32(a.width), int32(a.size), int32(a.Window), a.scale(), int32(form.parts), int32(0))...)
	if err != nil {
		return nil, err
	}
	// The order of memory is that of args.
	l := bound.(*launch)
	m := l.memory
	l.eager = &eager{reads: slices.Concat(m[:2], m[5:8]), writes: slices.Concat(m[:2], m[9:])}
	return l, nil
}
