package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// toy builds devices for tests: a table over host memory that tests extend. Its
// own kernels poison their scratch, work in place where they may, and do not
// allocate.
func toy(t testing.TB, kernels []devices.Kernel, layouts ...devices.Layout) *host.Device {
	d := host.New(host.Config{Name: "toy", Kernels: kernels, Layouts: layouts, Threads: 1,
		Has: func(f devices.Feature) bool { return f == "here" }})
	t.Cleanup(func() { d.Close() })
	return d
}

func addKernel() devices.Kernel {
	return devices.Kernel{
		Name: "add.inplace", Op: ops.AddOp.OpDef,
		InPlace: []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}},
		Scratch: func(c *devices.Call) int { return c.In[0].Bytes() },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			a, b, y, scratch := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0]), host.U8(c.Scratch)
			return host.Serial(c, func() {
				for i := range scratch {
					scratch[i] = 0xff
				}
				if len(b) == 1 {
					b0 := b[0]
					for i := range y {
						y[i] = a[i] + b0
					}
					return
				}
				for i := range y {
					y[i] = a[i] + b[i]
				}
			}), nil
		},
	}
}

// mulKernel may overwrite its first operand, but not if that is the second too.
func mulKernel() devices.Kernel {
	return devices.Kernel{
		Name: "mul.inplace", Op: ops.MulOp.OpDef, InPlace: []graph.Update{{}},
		Accept: func(c *devices.Call) error {
			if len(c.In[1].Dims) != len(c.In[0].Dims) {
				return errors.New("no broadcasting")
			}
			return nil
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			a, b, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
			return host.Serial(c, func() {
				for i := range y {
					y[i] = -a[i]
				}
				for i := range y {
					y[i] *= -b[i]
				}
			}), nil
		},
	}
}

// unaryKernel is an elementwise kernel that may work in place.
func unaryKernel(op *graph.OpDef, f func(float32) float32) devices.Kernel {
	return devices.Kernel{
		Name: op.Name + ".inplace", Op: op, InPlace: []graph.Update{{}},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, y := host.F32(c.In[0]), host.F32(c.Out[0])
			return host.Serial(c, func() {
				for i := range y {
					y[i] = f(x[i])
				}
			}), nil
		},
	}
}

func relu2(v float32) float32 { v = max(v, 0); return v * v }

// columns is a layout of f32 matrices: transposed, behind a marker.
func columns(name graph.Layout) devices.Layout {
	return devices.Layout{
		Name: name, Elem: graph.F32,
		Bytes: func(dims []int) int { return 4 + 4*dims[0]*dims[1] },
		Pack: func(in, out devices.Operand) (devices.Launch, error) {
			src := host.F32(in)
			dst := host.Bytes(out, 4+in.Bytes())
			if src == nil || dst == nil {
				return nil, errors.New("operands are not in host memory")
			}
			rows, cols := in.Dims[0], in.Dims[1]
			o := host.F32(devices.Operand{Elem: graph.F32, Dims: []int{1 + rows*cols}, Buf: out.Buf, Off: out.Off})
			return host.Serial(&devices.Call{}, func() {
				o[0] = marker(name)
				for r := range rows {
					for c := range cols {
						o[1+c*rows+r] = src[r*cols+c]
					}
				}
			}), nil
		},
	}
}

func marker(name graph.Layout) float32 { return float32(len(name)) }

// columnsMatMul is x·wᵀ for w stored as columns.
func columnsMatMul(name string, layout graph.Layout, order string, accept func(c *devices.Call) error, cost float64) devices.Kernel {
	return devices.Kernel{
		Name: name, Op: ops.MatMulOp.OpDef, Layouts: []graph.Layout{"", layout}, Order: order,
		Accept: accept, Cost: func(c *devices.Call) float64 { return cost },
		Bind: func(c *devices.Call) (devices.Launch, error) {
			if c.In[1].Layout != layout {
				return nil, fmt.Errorf("bound with layout %q", c.In[1].Layout)
			}
			x, y := host.F32(c.In[0]), host.F32(c.Out[0])
			n, k := c.Out[0].Last(), c.In[0].Last()
			w := host.F32(devices.Operand{Elem: graph.F32, Dims: []int{1 + n*k}, Buf: c.In[1].Buf, Off: c.In[1].Off})
			rows := c.In[0].Rows()
			return host.Serial(c, func() {
				if w[0] != marker(layout) {
					host.Fail(fmt.Errorf("weights are not packed as %s", layout))
				}
				for r := range rows {
					for j := range n {
						var s float64
						for i := range k {
							s += float64(x[r*k+i]) * float64(w[1+i*n+j])
						}
						y[r*n+j] = float32(s)
					}
				}
			}), nil
		},
	}
}

// parse reads a graph over the real ops.
func parse(t testing.TB, text string, more ...*graph.OpDef) *graph.Graph {
	t.Helper()
	g, err := graph.Parse(strings.NewReader(text), graph.NewOpSet(ops.All()...).With(more...))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func compile(t testing.TB, g *graph.Graph, d devices.Device, opts ...Option) *Program {
	t.Helper()
	p, err := Compile(g, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newRun(t testing.TB, p *Program, src Source) *Run {
	t.Helper()
	if src != nil {
		if err := p.Load(t.Context(), src); err != nil {
			t.Fatal(err)
		}
	}
	r, err := p.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func randF32(rng *rand.Rand, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = float32(rng.IntN(64)-32) / 8
	}
	return t
}
