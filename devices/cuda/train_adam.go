package cuda

import (
	"encoding/binary"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Sizes of kernels/train_optim.cu.
const (
	maxSquares   = 100   // tensors of one call of clip_squares
	squaresChunk = 16384 // elements of a block
	maxUpdates   = 60    // params of one call of adamw
	updatesChunk = 4096
)

// words writes the fields of a struct one after the other.
type words struct{ blob }

func (w *words) u64(v uint64) { w.blob = binary.LittleEndian.AppendUint64(w.blob, v) }
func (w *words) u32(v uint32) { w.blob = binary.LittleEndian.AppendUint32(w.blob, v) }

// narrow is 1 for bf16.
func narrow(o devices.Operand) uint32 {
	if o.Elem == graph.BF16 {
		return 1
	}
	return 0
}

// squaresBlocks is how many blocks add up the squares of n elements.
func squaresBlocks(n int) int { return (n + squaresChunk - 1) / squaresChunk }

// clipGrads adds up the squares of many tensors at once.
func (d *Device) clipGrads() devices.Kernel {
	blocks := func(os []devices.Operand) int {
		n := 0
		for _, o := range os {
			n += squaresBlocks(o.Len())
		}
		return n
	}
	return devices.Kernel{
		Name: "clip_grads.f64", Op: ops.ClipGradsOp.OpDef, Needs: sm80, Cost: d.memoryCost,
		Scratch: func(c *devices.Call) int { return 8 * max(1, blocks(c.In)) },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			var all []devices.Launch
			done := 0
			for at := 0; at < len(c.In); at += maxSquares {
				list := c.In[at:min(len(c.In), at+maxSquares)]
				var w words
				field := func(put func(o devices.Operand) error) error {
					for _, o := range list {
						if err := put(o); err != nil {
							return err
						}
					}
					return nil
				}
				pad := func(n, size int) { w.blob = append(w.blob, make([]byte, (maxSquares-n)*size)...) }
				err := field(func(o devices.Operand) error {
					p, err := d.span(o.Buf, o.Off, o.Bytes())
					w.u64(uint64(p))
					return err
				})
				if err != nil {
					return nil, err
				}
				pad(len(list), 8)
				_ = field(func(o devices.Operand) error { w.u64(uint64(o.Len())); return nil })
				pad(len(list), 8)
				first := 0
				_ = field(func(o devices.Operand) error { w.u32(uint32(first)); first += squaresBlocks(o.Len()); return nil })
				pad(len(list), 4)
				_ = field(func(o devices.Operand) error { w.u32(narrow(o)); return nil })
				pad(len(list), 4)
				if first == 0 {
					continue
				}
				part := c.Scratch
				part.Off += 8 * done
				part.Dims = []int{8 * first}
				l, err := d.bind("clip_squares", shape{blocks: first, threads: 256}, w.blob, int32(len(list)), part)
				if err != nil {
					return nil, err
				}
				all = append(all, l)
				done += first
			}
			l, err := d.bind("clip_parts", shape{blocks: 1, threads: 1024}, c.Scratch, int32(done), c.Out[0], c.Out[1], c.Attrs.(ops.ClipAttrs).Max)
			return inOrder(err, append(all, l)...)
		},
	}
}

// update is one param that AdamW updates.
type update struct {
	p, g, m, v uint64 // addresses
	n          int
	narrow     uint32
	decay      float32
}

// adam is a call of AdamW on one param, or on several when it is captured beside
// others with the same hyper-parameters: a kernel for each of a hundred params,
// many of them small, would take longer to start than to run.
type adam struct {
	*launch
	updates []update
	step    ops.AdamWStep // what does not change
	hyper   devices.Operand
	factor  devices.Operand
}

func (d *Device) adamw(c *devices.Call) (devices.Launch, error) {
	a := c.Attrs.(ops.AdamWAttrs)
	from, to := a.Owned(c.In[0].Len())
	u := update{n: to - from, narrow: narrow(c.In[1]), decay: float32(a.Decay)}
	for i, at := range []*uint64{&u.p, &u.g, &u.m, &u.v} {
		p, err := d.span(c.In[i].Buf, c.In[i].Off, c.In[i].Bytes())
		if err != nil {
			return nil, err
		}
		*at = uint64(p)
	}
	u.p += uint64(4 * from)
	return d.bindAdam([]update{u}, ops.NewAdamWStep(a, []float32{0, 0, 1, 1}, 1), c.In[4], c.In[5])
}

func (d *Device) bindAdam(list []update, s ops.AdamWStep, hyper, factor devices.Operand) (*adam, error) {
	var w words
	long := func(v func(u update) uint64) {
		for i := range maxUpdates {
			if i < len(list) {
				w.u64(v(list[i]))
			} else {
				w.u64(0)
			}
		}
	}
	short := func(v func(u update) uint32) {
		for i := range maxUpdates {
			if i < len(list) {
				w.u32(v(list[i]))
			} else {
				w.u32(0)
			}
		}
	}
	long(func(u update) uint64 { return u.p })
	long(func(u update) uint64 { return u.g })
	long(func(u update) uint64 { return u.m })
	long(func(u update) uint64 { return u.v })
	long(func(u update) uint64 { return uint64(u.n) })
	blocks := 0
	short(func(u update) uint32 {
		first := blocks
		blocks += (u.n + updatesChunk - 1) / updatesChunk
		return uint32(first)
	})
	short(func(u update) uint32 { return u.narrow })
	short(func(u update) uint32 { return math.Float32bits(u.decay) })
	l, err := d.bind("adamw", shape{blocks: blocks, threads: 256}, w.blob, int32(len(list)), hyper, factor, s.Beta1, s.Rest1, s.Beta2, s.Rest2, s.Eps)
	if err != nil {
		return nil, err
	}
	s.Keep = 1 // that of each param is its own
	return &adam{launch: l.(*launch), updates: list, step: s, hyper: hyper, factor: factor}, nil
}

// joined makes one call of neighbours that may be, for a capture.
func joined(list []work) ([]work, error) {
	var out []work
	for _, w := range list {
		a, ok := w.(*adam)
		if !ok || len(out) == 0 {
			out = append(out, w)
			continue
		}
		b, ok := out[len(out)-1].(*adam)
		if !ok || b.step != a.step || b.hyper.Off != a.hyper.Off || b.hyper.Buf != a.hyper.Buf || b.factor.Off != a.factor.Off || b.factor.Buf != a.factor.Buf ||
			len(b.updates)+len(a.updates) > maxUpdates {
			out = append(out, w)
			continue
		}
		both, err := a.d.bindAdam(append(append([]update(nil), b.updates...), a.updates...), a.step, a.hyper, a.factor)
		if err != nil {
			return nil, err
		}
		out[len(out)-1] = both
	}
	return out, nil
}
