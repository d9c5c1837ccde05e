package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// attention is a call of ops.AttentionOp or ops.AttentionDropoutOp or of their
// gradients: tokens of a step attend to each other.
type attention struct {
	ops.AttentionAttrs
	tokens, hd, group int
	elem              graph.DType
	seq, pos          devices.Operand
	// in scratch memory, as kernels/attend.cuh describes them
	spans, meets, delta devices.Operand
	scratch             int // bytes
	drop                []any
}

func newAttention(c *devices.Call) attention {
	a := attention{elem: c.In[0].Elem}
	a.AttentionAttrs, a.drop = attentionAttrs(c)
	a.tokens, a.hd, a.group = c.In[0].Dims[0], c.In[0].Dims[1]/a.Heads, a.Heads/a.KVHeads
	a.seq, a.pos = c.In[len(c.In)-2], c.In[len(c.In)-1]
	place := func(elem graph.DType, dims ...int) devices.Operand {
		o := devices.Operand{Elem: elem, Dims: dims, Buf: c.Scratch.Buf, Off: c.Scratch.Off + a.scratch}
		a.scratch += (o.Bytes() + devices.Align - 1) / devices.Align * devices.Align
		return o
	}
	a.spans, a.meets = place(graph.I32, a.blocks(), 4), place(graph.I32, a.blocks(), 4)
	if len(c.Out) == 3 {
		a.delta = place(graph.F32, a.tokens, a.Heads)
	}
	return a
}

// attentionAttrs are those of a call of attention, and what kernels take to drop
// probabilities, if it does.
func attentionAttrs(c *devices.Call) (a ops.AttentionAttrs, drop []any) {
	a, ok := c.Attrs.(ops.AttentionAttrs)
	if !ok {
		d := c.Attrs.(ops.AttentionDropoutAttrs)
		key := d.Dropout().Key()
		a, drop = d.Attention(), []any{c.In[len(c.In)-3], int32(key[0]), int32(key[1]), int32(d.Stream), int32(d.Dropout().Threshold()), d.Dropout().Scale()}
	}
	return a, drop
}

func (a attention) blocks() int { return (a.tokens + keyBlock - 1) / keyBlock }

// scale is what scores are multiplied with, and the same for exponents of 2.
func (a attention) scale() (natural, binary float32) {
	c := cachedAttention{hd: a.hd}
	return c.naturalScale(), c.scale()
}

func (a attention) fits() error {
	if a.hd > 128 {
		return fmt.Errorf("heads of %d are wider than 128", a.hd)
	}
	if a.Heads > 65535 || a.tokens >= 1<<30 {
		return errors.New("too many heads or tokens")
	}
	return nil
}

// args are the arguments that all kernels have, behind pointers.
func (a attention) args() []any {
	return []any{int32(a.tokens), int32(a.Heads), int32(a.group), int32(a.hd), int32(a.Window)}
}

// places are the operands that say which tokens see which.
func (a attention) places() []any { return []any{a.seq, a.pos, a.spans, a.meets} }

// bindMeets finds which blocks of tokens meet.
func (d *Device) bindMeets(a attention) (several, error) {
	return d.inOrder(
		step{"attention_spans", shape{blocks: a.blocks(), threads: keyBlock}, []any{a.seq, a.pos, a.spans, int32(a.tokens)}},
		step{"attention_meets", shape{blocks: a.blocks(), threads: 128}, []any{a.spans, a.meets, int32(a.blocks()), int32(a.Window)}},
	)
}

// step is one kernel of several.
type step struct {
	fn   string
	sh   shape
	args []any
}

func (d *Device) inOrder(steps ...step) (several, error) {
	var all several
	for _, s := range steps {
		l, err := d.bind(s.fn, s.sh, s.args...)
		if err != nil {
			return nil, err
		}
		all = append(all, l.(work))
	}
	return all, nil
}

// attendForm is a family of kernels for attention of training.
type attendForm struct {
	name   string
	accept func(a attention) error
	rate   float64 // multiply-adds of a multiprocessor in a nanosecond
	// fn is the kernel's name and shape its grid over blocks and heads;
	// panels is how many panels of 64 rows, squares how many of 64 x 64 it has.
	fn    func(a attention, pass string) string
	shape func(a attention, heads, panels, squares int) shape
	typed bool // kernels take the element type
	drops bool // there are kernels with dropout
}

func (d *Device) attendForms() []attendForm {
	return []attendForm{
		{
			name: "flash_bf16", rate: 800, drops: true,
			accept: func(a attention) error {
				if a.elem != graph.BF16 {
					return fmt.Errorf("operands are %s, not bf16", a.elem)
				}
				if a.hd%8 != 0 {
					return fmt.Errorf("heads of %d are not whole copies of 16 bytes", a.hd)
				}
				return nil
			},
			fn: func(a attention, pass string) string {
				if a.drop != nil {
					pass = "dropout_" + pass
				}
				return fmt.Sprintf("flash_%s_%d", pass, cachedAttention{hd: a.hd}.padded())
			},
			shape: func(a attention, heads, panels, _ int) shape {
				// Panels of two slots, and places, lse, delta and masks of tokens.
				tokens := 2 * keyBlock * (8 + 8)
				if a.drop != nil {
					tokens += 2 * keyBlock * keyBlock / 8
				}
				return shape{blocks: a.blocks(), tiles: heads, threads: 128, shared: panels*keyBlock*2*cachedAttention{hd: a.hd}.padded() + tokens}
			},
		},
		{
			name: "ffma", rate: 60, typed: true,
			accept: func(a attention) error {
				if n, most := a.ffmaShared(4, 2), d.info.SharedPerBlock-staticShared; n > most {
					return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", n, most)
				}
				return nil
			},
			fn: func(_ attention, pass string) string { return "attention_" + pass },
			shape: func(a attention, heads, panels, squares int) shape {
				if panels > 4 {
					panels = 4 // one slot
				}
				return shape{blocks: a.blocks(), tiles: heads, threads: 256, shared: a.ffmaShared(panels, squares)}
			},
		},
	}
}

func (a attention) ffmaShared(panels, squares int) int {
	width := (a.hd + 15) / 16 * 16
	return 4 * (panels*keyBlock*(width+1) + squares*keyBlock*(keyBlock+1))
}

// attendKernels lists attention of training.
func (d *Device) attendKernels() []devices.Kernel {
	var rows []devices.Kernel
	for _, f := range d.attendForms() {
		row := func(op *graph.OpDef, products float64, bind func(f attendForm, c *devices.Call) (devices.Launch, error)) devices.Kernel {
			return devices.Kernel{
				Name: op.Name + "." + f.name, Op: op, Needs: sm80, BF16: true,
				Accept: func(c *devices.Call) error {
					a := newAttention(c)
					if err := a.fits(); err != nil {
						return err
					}
					return f.accept(a)
				},
				Scratch: func(c *devices.Call) int { return newAttention(c).scratch },
				Cost: func(c *devices.Call) float64 {
					// Sequences of 512 tokens, of which half are seen.
					a := newAttention(c)
					work := products * float64(a.tokens) * float64(min(a.tokens, 512)) / 2 * float64(a.Heads*a.hd)
					return 3*launchCost + work/f.rate/float64(d.info.Multiprocessors)
				},
				Bind: func(c *devices.Call) (devices.Launch, error) { return bind(f, c) },
			}
		}
		rows = append(rows, row(ops.AttentionOp.OpDef, 2, d.bindAttention), row(ops.AttentionGradOp.OpDef, 7, d.bindAttentionGrad))
		if f.drops {
			rows = append(rows, row(ops.AttentionDropoutOp.OpDef, 3, d.bindAttention), row(ops.AttentionDropoutGradOp.OpDef, 9, d.bindAttentionGrad))
		}
	}
	return rows
}

func (d *Device) bindAttention(f attendForm, c *devices.Call) (devices.Launch, error) {
	a := newAttention(c)
	all, err := d.bindMeets(a)
	if err != nil {
		return nil, err
	}
	_, binary := a.scale()
	args := append([]any{c.In[0], c.In[1], c.In[2]}, a.places()...)
	args = append(args, c.Out[0], c.Out[1])
	args = append(append(append(args, a.args()...), binary), a.drop...)
	if f.typed {
		code, err := elemCode(a.elem)
		if err != nil {
			return nil, err
		}
		args = append(args, code)
	}
	panels := 5
	if f.typed {
		panels = 3
	}
	pass, err := d.inOrder(step{f.fn(a, "forward"), f.shape(a, a.Heads, panels, 1), args})
	return append(all, pass...), err
}

func (d *Device) bindAttentionGrad(f attendForm, c *devices.Call) (devices.Launch, error) {
	a := newAttention(c)
	all, err := d.bindMeets(a)
	if err != nil {
		return nil, err
	}
	q, k, v, o, lse, do := c.In[0], c.In[1], c.In[2], c.In[3], c.In[4], c.In[5]
	code, err := elemCode(a.elem)
	if err != nil {
		return nil, err
	}
	natural, binary := a.scale()
	args := func(out ...any) []any {
		args := append([]any{q, k, v, do, lse, a.delta}, a.places()...)
		args = append(append(args, out...), a.args()...)
		if args = append(append(args, binary, natural), a.drop...); f.typed {
			args = append(args, code)
		}
		return args
	}
	rows := a.tokens * a.Heads
	passes, err := d.inOrder(
		step{"attention_delta", shape{blocks: (rows + 3) / 4, threads: 128}, []any{o, do, a.delta, int64(rows), int32(a.hd), code}},
		step{f.fn(a, "backward_keys"), f.shape(a, a.KVHeads, 6, 2), args(c.Out[1], c.Out[2])},
		step{f.fn(a, "backward_queries"), f.shape(a, a.Heads, 6, 1), args(c.Out[0])},
	)
	return append(all, passes...), err
}
