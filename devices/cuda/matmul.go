package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Orders of dense products, as kernels/matmul.cu describes them.
const (
	ffmaOrder = "fma.ascending"
	mmaOrder  = "mma16.ascending"
)

// elemCode numbers element types as kernels/matmul.cu does.
func elemCode(e graph.DType) (int32, error) {
	switch e {
	case graph.F32:
		return 0, nil
	case graph.BF16:
		return 1, nil
	case graph.F16:
		return 2, nil
	}
	return 0, fmt.Errorf("element type %s is not a float", e)
}

// dense is a call of ops.MatMulOp or ops.BatchMatMulOp.
type dense struct {
	m, n, k, batch int
	ops.MatMulAttrs
}

func newDense(c *devices.Call) dense {
	p := dense{batch: 1, MatMulAttrs: c.Attrs.(ops.MatMulAttrs)}
	a, y := c.In[0].Dims, c.Out[0].Dims
	r := len(y)
	p.m, p.n, p.k = y[r-2], y[r-1], a[r-1]
	if p.TA {
		p.k = a[r-2]
	}
	for _, d := range y[:r-2] {
		p.batch *= d
	}
	return p
}

// denseTile is one block shape of kernels/matmul.cu.
type denseTile struct {
	edge     int // rows and columns of the result
	threads  int
	shared   int // bytes, dynamic
	resident int // blocks that fit a multiprocessor
	rate     float64
}

func (t denseTile) String() string { return fmt.Sprintf("%dx%d", t.edge, t.edge) }

var (
	ffmaTiles = []denseTile{
		{edge: 128, threads: 256, shared: 2 * 16 * 4 * 2 * (128 + 4), resident: 2, rate: 150},
		{edge: 64, threads: 256, shared: 2 * 16 * 4 * 2 * (64 + 4), resident: 3, rate: 100},
	}
	bf16Tiles = []denseTile{
		{edge: 128, threads: 128, shared: 3 * 2 * 128 * 128, resident: 2, rate: 1600},
		{edge: 64, threads: 128, shared: 3 * 2 * 64 * 128, resident: 4, rate: 900},
	}
)

// grid covers p; parts is how many blocks share one tile's inner dimension.
func (t denseTile) grid(p dense, parts int) shape {
	return shape{
		blocks: (p.m + t.edge - 1) / t.edge, tiles: (p.n + t.edge - 1) / t.edge, layers: p.batch * parts,
		threads: t.threads, shared: t.shared,
	}
}

func (t denseTile) fits(p dense) error {
	if sh := t.grid(p, 1); sh.tiles > 65535 || sh.layers > 65535 || p.m >= 1<<31-128 || p.n >= 1<<31-128 || p.k >= 1<<31-128 {
		return errors.New("too many tiles")
	}
	return nil
}

// cost counts waves of blocks; all of a wave take as long as one.
func (d *Device) tileCost(t denseTile, p dense, parts int) float64 {
	sh := t.grid(p, parts)
	wave := t.resident * d.info.Multiprocessors
	perBlock := float64(t.edge*t.edge) * float64(p.k/parts) * float64(t.resident) / t.rate
	return float64((sh.blocks*sh.tiles*sh.layers+wave-1)/wave) * perBlock
}

// matmulKernels lists dense products.
func (d *Device) matmulKernels() []devices.Kernel {
	rows := []devices.Kernel{d.blas.kernel()}
	for _, t := range bf16Tiles {
		rows = append(rows, d.bf16Product(t))
	}
	for _, op := range []*graph.OpDef{ops.MatMulOp.OpDef, ops.BatchMatMulOp.OpDef} {
		for _, t := range ffmaTiles {
			rows = append(rows, d.ffmaProduct(op, t))
		}
	}
	return rows
}

func (d *Device) ffmaProduct(op *graph.OpDef, t denseTile) devices.Kernel {
	return devices.Kernel{
		Name: op.Name + ".ffma_" + t.String(), Op: op, Needs: sm80, Order: ffmaOrder, BF16: true,
		Accept: func(c *devices.Call) error {
			if e := c.Out[0].Elem; e != graph.F32 && e != graph.BF16 {
				return fmt.Errorf("no result of type %s", e)
			}
			for _, o := range c.In {
				if _, err := elemCode(o.Elem); err != nil {
					return err
				}
			}
			return t.fits(newDense(c))
		},
		Cost: func(c *devices.Call) float64 {
			return max(d.memoryCost(c), launchCost+d.tileCost(t, newDense(c), 1))
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			p := newDense(c)
			args := []any{c.In[0], c.In[1], c.Out[0], int32(p.m), int32(p.n), int32(p.k), flag(p.TA), flag(p.TB)}
			for _, o := range []devices.Operand{c.In[0], c.In[1], c.Out[0]} {
				e, err := elemCode(o.Elem)
				if err != nil {
					return nil, err
				}
				args = append(args, e)
			}
			return d.bind("matmul_ffma_"+t.String(), t.grid(p, 1), args...)
		},
	}
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// bf16Product multiplies on tensor cores. Products over the rows of both
// operands, as gradients of weights are, have few tiles and a long inner
// dimension, which is then split. Others are not: a row's bits may not depend on
// how many rows there are.
func (d *Device) bf16Product(t denseTile) devices.Kernel {
	parts := func(p dense) int {
		sh := t.grid(p, 1)
		if !p.TA {
			return 1
		}
		return max(1, min(t.resident*d.info.Multiprocessors/(sh.blocks*sh.tiles), p.k/1024, 16))
	}
	return devices.Kernel{
		Name: "matmul.bf16.mma_" + t.String(), Op: ops.MatMulOp.OpDef, Needs: sm80, Order: mmaOrder, BF16: true,
		Accept: func(c *devices.Call) error {
			if c.In[0].Elem != graph.BF16 || c.In[1].Elem != graph.BF16 || c.Out[0].Elem != graph.BF16 && c.Out[0].Elem != graph.F32 {
				return errors.New("only for bf16 operands")
			}
			if c.In[0].Last()%8 != 0 || c.In[1].Last()%8 != 0 {
				return errors.New("rows are not whole copies of 16 bytes")
			}
			if t.shared > d.info.SharedPerBlock-staticShared {
				return fmt.Errorf("needs %d bytes of shared memory", t.shared)
			}
			return t.fits(newDense(c))
		},
		Scratch: func(c *devices.Call) int {
			p := newDense(c)
			if n := parts(p); n > 1 {
				return n * p.m * p.n * 4
			}
			return 0
		},
		Cost: func(c *devices.Call) float64 {
			p := newDense(c)
			n := parts(p)
			cost := max(d.memoryCost(c), launchCost+d.tileCost(t, p, n))
			if n > 1 {
				cost += launchCost + float64((n+1)*p.m*p.n*4)/d.info.Bandwidth*1e9
			}
			return cost
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			p := newDense(c)
			form := "_nn"
			switch {
			case p.TA && p.TB:
				form = "_tt"
			case p.TA:
				form = "_tn"
			case p.TB:
				form = "_nt"
			}
			typ, err := elemCode(c.Out[0].Elem)
			if err != nil {
				return nil, err
			}
			y, n := c.Out[0], parts(p)
			chunk := ((p.k+n-1)/n + 63) / 64 * 64
			n = max(1, (p.k+chunk-1)/max(chunk, 1))
			fn := "matmul_bf16_" + t.String() + form
			if n == 1 {
				return d.bind(fn, t.grid(p, 1), c.In[0], c.In[1], y, int32(p.m), int32(p.n), int32(p.k), int32(p.k), typ)
			}
			product, err := d.bind(fn, t.grid(p, n), c.In[0], c.In[1], c.Scratch, int32(p.m), int32(p.n), int32(p.k), int32(chunk), int32(0))
			if err != nil {
				return nil, err
			}
			sum, err := d.bind("matmul_parts", d.perElement(y), c.Scratch, y, int64(y.Len()), int32(n), typ)
			if err != nil {
				return nil, err
			}
			return several{product.(work), sum.(work)}, nil
		},
	}
}
