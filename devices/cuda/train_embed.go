package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// wideColumns is WIDE in kernels/train_embed.cu.
const wideColumns = 256

// maxHalf is the most frequencies of a head.
const maxHalf = 256

// embeddingKernels are tables of vectors and rotary positions.
func (d *Device) embeddingKernels() []devices.Kernel {
	lookup := func(name string, op *graph.OpDef) devices.Kernel {
		return devices.Kernel{
			Name: name, Op: op, Needs: sm80, Cost: d.memoryCost, Accept: func(c *devices.Call) error { return rowsFit(c.Out[0]) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				table := c.In[0]
				return d.bind(typed(typed("embedding", table), c.Out[0]), shape{blocks: c.Out[0].Rows(), threads: 256},
					table, c.In[1], c.Out[0], int32(table.Dims[0]), int32(table.Dims[1]))
			},
		}
	}
	return []devices.Kernel{
		lookup("embedding.float", ops.EmbeddingOp.OpDef),
		lookup("embedding_cast.float", bitlinear.EmbeddingCastOp.OpDef),
		{
			Name: "embedding_grad.float", Op: ops.EmbeddingGradOp.OpDef, Needs: sm80, BF16: true, Cost: d.memoryCost,
			Accept: func(c *devices.Call) error {
				if c.In[1].Last() > 65535*wideColumns {
					return errors.New("rows are too long")
				}
				return rowsFit(c.In[1])
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				dy, table := c.In[1], c.Out[0]
				sh := shape{blocks: (table.Dims[0] + 7) / 8, tiles: (dy.Last() + wideColumns - 1) / wideColumns, threads: 256}
				return d.bind(typed("embedding_grad", dy), sh, c.In[0], dy, table, int32(c.In[0].Len()), int32(table.Dims[0]), int32(dy.Last()))
			},
		},
		{
			Name: "rope.float", Op: ops.RoPEOp.OpDef, Needs: sm80, BF16: true, InPlace: inPlace, Cost: d.memoryCost,
			Accept: func(c *devices.Call) error {
				if hd := c.Attrs.(ops.RoPEAttrs).HeadDim; hd > 2*maxHalf {
					return fmt.Errorf("heads of %d are wider than %d", hd, 2*maxHalf)
				}
				return rowsFit(c.In[0])
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, x := c.Attrs.(ops.RoPEAttrs), c.In[0]
				half, sign, fn := a.HeadDim/2, float32(1), typed("rope", x)
				if a.Inverse {
					sign = -1
				}
				if half*x.Elem.Size()%16 != 0 {
					fn += "_odd"
				}
				f := make(blob, 4*maxHalf)
				for i := range half {
					binary.LittleEndian.PutUint32(f[4*i:], math.Float32bits(ops.RoPEFreq(a.Theta, a.HeadDim, i)))
				}
				const tokens = 4 // of a block, a warp each
				sh := shape{blocks: (x.Rows() + tokens - 1) / tokens, threads: 32 * tokens, shared: 8 * tokens * half}
				return d.bind(fn, sh, x, c.In[1], c.Out[0], int32(x.Rows()), int32(x.Last()), int32(half), sign, f)
			},
		},
	}
}
