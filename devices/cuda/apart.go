package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// normed is a fused op with a norm, run as its parts: codes, the product, and
// what is behind a gate. The product is left to the best kernel for it.
type normed struct {
	d       *Device
	inner   *graph.OpDef // the product
	weights []int
	gate    bool // the product's results are gate and up
}

// partsOf are the calls of a normed op's parts.
type partsOf struct {
	quant, product devices.Call
	kernel         devices.Kernel // of the product
	glu            devices.Call   // if there is a gate
}

// parts describes the calls, with operands in scratch memory from offset 0 on, and
// the bytes of that.
func (n normed) parts(c *devices.Call) (p partsOf, bytes int, err error) {
	place := func(elem graph.DType, dims ...int) devices.Operand {
		o := devices.Operand{Elem: elem, Dims: dims, Buf: c.Scratch.Buf, Off: c.Scratch.Off + bytes}
		bytes += (o.Bytes() + devices.Align - 1) / devices.Align * devices.Align
		return o
	}
	m, k := c.In[0].Dims[0], c.In[0].Dims[1]
	q, s := place(graph.I8, m, k), place(graph.F32, m, 1)
	p.quant = devices.Call{Op: bitlinear.SubLNQuantOp.OpDef, Attrs: c.Attrs, Where: c.Where, In: c.In[:2:2], Out: []devices.Operand{q, s}}
	p.product = devices.Call{Op: n.inner, Attrs: graph.None{}, Where: c.Where, In: append([]devices.Operand{q, s}, c.In[2:]...), Out: c.Out}
	if n.gate {
		width := c.Out[0].Dims[1]
		gate, up := place(graph.F32, m, width), place(graph.F32, m, width)
		p.product.Out = []devices.Operand{gate, up}
		p.glu = devices.Call{Op: bitlinear.ReLU2GLUOp.OpDef, Attrs: graph.None{}, Where: c.Where, In: p.product.Out, Out: c.Out}
	}
	if p.kernel, err = n.best(&p.product); err != nil {
		return p, 0, err
	}
	if p.kernel.Scratch != nil {
		if b := p.kernel.Scratch(&p.product); b > 0 {
			p.product.Scratch = place(graph.U8, b)
		}
	}
	return p, bytes, nil
}

// best is the cheapest kernel for the product that takes weights as they are
// packed and scales sums as the others do.
func (n normed) best(c *devices.Call) (devices.Kernel, error) {
	var best devices.Kernel
	cost := 0.0
	for _, k := range n.d.kernels {
		if k.Op != n.inner || k.Order != orderScaled || len(k.Layouts) <= n.weights[0] || k.Layouts[n.weights[0]] != i2x64 || !n.d.hasAll(k.Needs) {
			continue
		}
		if k.Accept != nil && k.Accept(c) != nil {
			continue
		}
		if x := k.Cost(c); best.Op == nil || x < cost {
			best, cost = k, x
		}
	}
	if best.Op == nil {
		return best, fmt.Errorf("no kernel for %s of these extents", n.inner.Name)
	}
	return best, nil
}

func (d *Device) hasAll(fs []devices.Feature) bool {
	for _, f := range fs {
		if !d.Has(f) {
			return false
		}
	}
	return true
}

func (n normed) accept(c *devices.Call) error {
	_, _, err := n.parts(c)
	return errors.Join(rowsFit(c.In[0]), err)
}

func (n normed) cost(c *devices.Call) float64 {
	p, _, err := n.parts(c)
	if err != nil {
		return 0
	}
	total := n.d.memoryCost(&p.quant) + p.kernel.Cost(&p.product)
	if n.gate {
		total += n.d.memoryCost(&p.glu)
	}
	return total
}

func (n normed) scratch(c *devices.Call) int {
	_, bytes, err := n.parts(c)
	if err != nil {
		return 0
	}
	return bytes
}

func (n normed) bind(c *devices.Call) (devices.Launch, error) {
	if err := wantPacked(c, n.weights); err != nil {
		return nil, err
	}
	p, _, err := n.parts(c)
	if err != nil {
		return nil, err
	}
	quant, err := n.d.bindNormQuant(&p.quant)
	if err != nil {
		return nil, err
	}
	product, err := p.kernel.Bind(&p.product)
	if err != nil {
		return nil, err
	}
	all := several{quant.(work), product.(work)}
	if n.gate {
		glu, err := n.d.bindReLU2GLU(&p.glu)
		if err != nil {
			return nil, err
		}
		all = append(all, glu.(work))
	}
	return all, nil
}

// gated is fused.norm_glu as codes and a product of these that applies the gate.
type gated struct {
	d       *Device
	weights []int
}

// codes are the operands in scratch memory, and the bytes of that.
func (g gated) codes(c *devices.Call) (q, s devices.Operand, bytes int) {
	m, k := c.In[0].Dims[0], c.In[0].Dims[1]
	at := (m*k + devices.Align - 1) / devices.Align * devices.Align
	q = devices.Operand{Elem: graph.I8, Dims: []int{m, k}, Buf: c.Scratch.Buf, Off: c.Scratch.Off}
	s = devices.Operand{Elem: graph.F32, Dims: []int{m, 1}, Buf: c.Scratch.Buf, Off: c.Scratch.Off + at}
	return q, s, at + 4*m
}

func (g gated) quant(c *devices.Call) *devices.Call {
	q, s, _ := g.codes(c)
	return &devices.Call{Op: bitlinear.SubLNQuantOp.OpDef, Attrs: c.Attrs, Where: c.Where, In: c.In[:2:2], Out: []devices.Operand{q, s}}
}

func (g gated) accept(c *devices.Call) error {
	return errors.Join(rowsFit(c.In[0]), g.d.productFits(g.d.productOf(c, g.weights, true)))
}

func (g gated) cost(c *devices.Call) float64 {
	return g.d.memoryCost(g.quant(c)) + g.d.productCost(g.d.productOf(c, g.weights, true))
}

func (g gated) scratch(c *devices.Call) int {
	_, _, n := g.codes(c)
	return n
}

func (g gated) bind(c *devices.Call) (devices.Launch, error) {
	return g.bindCodes(c, func(q, s devices.Operand) (devices.Launch, error) {
		p := g.d.productOf(c, g.weights, true)
		return g.d.bindEarly("codes_glu", p.shape(), q, s, c.In[2], c.In[3], c.In[4], c.In[5], c.Out[0], int32(p.m), int32(p.n[0]), int32(p.k))
	})
}

// bindCodes makes the launch of the codes and, behind it, that of their product.
func (g gated) bindCodes(c *devices.Call, product func(q, s devices.Operand) (devices.Launch, error)) (devices.Launch, error) {
	if err := wantPacked(c, g.weights); err != nil {
		return nil, err
	}
	quant, err := g.d.bindNormQuant(g.quant(c))
	if err != nil {
		return nil, err
	}
	q, s, _ := g.codes(c)
	l, err := product(q, s)
	if err != nil {
		return nil, err
	}
	return several{quant.(work), l.(work)}, nil
}
