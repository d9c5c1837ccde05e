package cuda

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// lossKernels are softmax and the losses over it: a block has a row.
func (d *Device) lossKernels() []devices.Kernel {
	accept := func(c *devices.Call) error { return rowsFit(c.In[0]) }
	perBlock := func(x devices.Operand) shape { return shape{blocks: x.Rows(), threads: 256} }
	floats := func(n int) func(c *devices.Call) int {
		return func(c *devices.Call) int { return 4 * max(1, n*c.In[0].Rows()) }
	}
	// one is the scratch of a single number.
	one := func(*devices.Call) int { return 4 }
	mean := func(c *devices.Call, targets devices.Operand, ignore int) (devices.Launch, error) {
		return d.bind("loss_mean", shape{blocks: 1, threads: 1024}, c.Scratch, targets, c.Out[0], int32(targets.Len()), int32(ignore))
	}
	share := func(c *devices.Call, targets, dloss devices.Operand, ignore int) (devices.Launch, error) {
		return d.bind("loss_share", shape{blocks: 1, threads: 1024}, targets, dloss, c.Scratch, int32(targets.Len()), int32(ignore))
	}
	softmax := func(name string, op *graph.OpDef, logarithm int32) devices.Kernel {
		return devices.Kernel{
			Name: name + ".float", Op: op, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlace, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed("softmax", c.In[0]), perBlock(c.In[0]), c.In[0], c.Out[0], int32(c.In[0].Last()), logarithm)
			},
		}
	}
	return []devices.Kernel{
		softmax("softmax", ops.SoftmaxOp.OpDef, 0),
		softmax("log_softmax", ops.LogSoftmaxOp.OpDef, 1),
		{
			Name: "softmax_grad.float", Op: ops.SoftmaxGradOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlaceOfEither, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind(typed("softmax_grad", c.In[0]), perBlock(c.In[0]), c.In[0], c.In[1], c.Out[0], int32(c.In[0].Last()))
			},
		},
		{
			Name: "cross_entropy.float", Op: ops.CrossEntropyOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Scratch: floats(1), Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, ignore := c.In[0], c.Attrs.(ops.IgnoreAttrs).Ignore
				rows, err := d.bind(inPacks("cross_entropy", x), perBlock(x), x, c.In[1], c.Scratch, c.Out[1], int32(x.Last()), int32(ignore))
				if err != nil {
					return nil, err
				}
				l, err := mean(c, c.In[1], ignore)
				return inOrder(err, rows, l)
			},
		},
		{
			Name: "cross_entropy_grad.float", Op: ops.CrossEntropyGradOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlace, Scratch: one, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, ignore := c.In[0], c.Attrs.(ops.IgnoreAttrs).Ignore
				by, err := share(c, c.In[1], c.In[3], ignore)
				if err != nil {
					return nil, err
				}
				rows, err := d.bind(inPacks("cross_entropy_grad", x), perBlock(x), x, c.In[1], c.In[2], c.Scratch, c.Out[0], int32(x.Last()), int32(ignore))
				return inOrder(err, by, rows)
			},
		},
		{
			Name: "distill.float", Op: ops.DistillOp.OpDef, Needs: sm80, BF16: true, Accept: accept, Scratch: floats(1), Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, a := c.In[0], c.Attrs.(ops.DistillAttrs)
				rows, err := d.bind(typed("distill", x), perBlock(x), x, c.In[1], c.In[2], c.Scratch, c.Out[1], c.Out[2],
					int32(x.Last()), int32(a.Ignore), float32(1/a.Temperature))
				if err != nil {
					return nil, err
				}
				l, err := mean(c, c.In[2], a.Ignore)
				return inOrder(err, rows, l)
			},
		},
		{
			Name: "distill_grad.float", Op: ops.DistillGradOp.OpDef, Needs: sm80, BF16: true, Accept: accept, InPlace: inPlaceOfEither, Scratch: one, Cost: d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, a := c.In[0], c.Attrs.(ops.DistillAttrs)
				by, err := share(c, c.In[2], c.In[5], a.Ignore)
				if err != nil {
					return nil, err
				}
				rows, err := d.bind(typed("distill_grad", x), perBlock(x), x, c.In[1], c.In[2], c.In[3], c.In[4], c.Scratch, c.Out[0],
					int32(x.Last()), int32(a.Ignore), float32(1/a.Temperature))
				return inOrder(err, by, rows)
			},
		},
		d.relation(), d.relationGrad(),
	}
}

// relation compares token relations: a block has a token and a head.
func (d *Device) relation() devices.Kernel {
	return devices.Kernel{
		Name: "relation.float", Op: ops.RelationOp.OpDef, Needs: sm80, BF16: true, Cost: d.memoryCost,
		Accept:  func(c *devices.Call) error { return rowsFit(c.In[0]) },
		Scratch: func(c *devices.Call) int { return 4 * max(1, c.Out[1].Len()) },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, teacher, heads := c.In[0], c.In[1], c.Attrs.(ops.RelationAttrs).Heads
			n := x.Dims[0]
			rows, err := d.bind(typed("relation", x), shape{blocks: n, tiles: heads, threads: 256}, x, teacher, c.In[2], c.Scratch, c.Out[1], c.Out[2],
				int32(n), int32(heads), int32(x.Last()/heads), int32(teacher.Last()/heads))
			if err != nil {
				return nil, err
			}
			l, err := d.bind("relation_mean", shape{blocks: 1, threads: 1024}, c.Scratch, c.Out[0], int64(n*heads))
			return inOrder(err, rows, l)
		},
	}
}

func (d *Device) relationGrad() devices.Kernel {
	return devices.Kernel{
		Name: "relation_grad.float", Op: ops.RelationGradOp.OpDef, Needs: sm80, BF16: true, Cost: d.memoryCost,
		Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, teacher, heads := c.In[0], c.In[1], c.Attrs.(ops.RelationAttrs).Heads
			n := x.Dims[0]
			return d.bind(typed("relation_grad", x), shape{blocks: n, tiles: heads, threads: 256}, x, teacher, c.In[2], c.In[3], c.In[4], c.In[5], c.Out[0],
				int32(n), int32(heads), int32(x.Last()/heads), int32(teacher.Last()/heads))
		},
	}
}
