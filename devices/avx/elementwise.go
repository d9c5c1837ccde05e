package avx

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// elementwiseKernels do each element alone, so the split into tasks cannot show.
func (u *unit) elementwiseKernels() []devices.Kernel {
	both := []graph.Update{{In: 0, Out: 0}, {In: 1, Out: 0}}
	one := []graph.Update{{In: 0, Out: 0}}
	binary := func(op *graph.OpDef, pair func(y, a, b []float32), scalar func(y, a []float32, b float32)) devices.Kernel {
		return u.row(devices.Kernel{
			Name: op.Name + ".f32", Op: op, Order: "each", InPlace: both,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				a, b, y := f32(c.In[0]), f32(c.In[1]), f32(c.Out[0])
				if len(b) == 1 {
					return rowChunks(c, len(y), 1, func(from, to int) { scalar(y[from:to], a[from:to], b[0]) }), nil
				}
				return rowChunks(c, len(y), 1, func(from, to int) { pair(y[from:to], a[from:to], b[from:to]) }), nil
			},
		})
	}
	unary := func(op *graph.OpDef, f func(y, x []float32)) devices.Kernel {
		return u.row(devices.Kernel{
			Name: op.Name + ".f32", Op: op, Order: "each", InPlace: one,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, y := f32(c.In[0]), f32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) { f(y[from:to], x[from:to]) }), nil
			},
		})
	}
	grad := func(op *graph.OpDef, f func(dx, x, dy []float32)) devices.Kernel {
		return binary(op, f, func(dx, x []float32, dy float32) { f(dx, x, []float32{dy}) })
	}
	return append(u.arrayKernels(), []devices.Kernel{
		binary(ops.AddOp.OpDef, u.isa.Add, func(y, a []float32, b float32) {
			for i, v := range a {
				y[i] = v + b
			}
		}),
		binary(ops.MulOp.OpDef, u.isa.Mul, u.isa.Scale),
		binary(ops.SubOp.OpDef, func(y, a, b []float32) {
			y, b = y[:len(a)], b[:len(a)]
			for i, v := range a {
				y[i] = v - b[i]
			}
		}, func(y, a []float32, b float32) {
			for i, v := range a {
				y[i] = v - b
			}
		}),
		binary(ops.DivOp.OpDef, func(y, a, b []float32) {
			y, b = y[:len(a)], b[:len(a)]
			for i, v := range a {
				y[i] = v / b[i]
			}
		}, func(y, a []float32, b float32) {
			for i, v := range a {
				y[i] = v / b
			}
		}),
		unary(ops.ReLUOp.OpDef, relu), grad(ops.ReLUGradOp.OpDef, reluGrad),
		u.row(devices.Kernel{
			Name: "scale.f32", Op: ops.ScaleOp.OpDef, Order: "each", InPlace: one,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, y, by := f32(c.In[0]), f32(c.Out[0]), float32(c.Attrs.(ops.ScaleAttrs).By)
				return rowChunks(c, len(y), 1, func(from, to int) { u.isa.Scale(y[from:to], x[from:to], by) }), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "fill.f32", Op: ops.FillOp.OpDef, Order: "each",
			Bind: func(c *devices.Call) (devices.Launch, error) {
				v, y := f32(c.In[0]), f32(c.Out[0])
				return rowChunks(c, len(y), 1, func(from, to int) {
					for i := from; i < to; i++ {
						y[i] = v[0]
					}
				}), nil
			},
		}),
		unary(ops.ReLU2Op.OpDef, u.isa.Relu2), grad(ops.ReLU2GradOp.OpDef, u.isa.Relu2Grad),
		unary(ops.SiLUOp.OpDef, silu), grad(ops.SiLUGradOp.OpDef, siluGrad),
		unary(ops.GELUOp.OpDef, gelu), grad(ops.GELUGradOp.OpDef, geluGrad),
		u.castKernel(),
		u.row(devices.Kernel{
			Name: "dropout.philox.f32", Op: ops.DropoutOp.OpDef, Order: "each", InPlace: one,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				x, y, at, w := f32(c.In[0]), f32(c.Out[0]), host.I32(c.In[1]), c.Out[0].Last()
				// Twenty multiplications make eight numbers.
				return rowChunks(c, c.Out[0].Rows(), 4*w, func(from, to int) {
					d := ops.NewDropout(c.Attrs.(ops.DropoutAttrs), at)
					for i := from; i < to; i++ {
						d.Row(y[i*w:(i+1)*w], x[i*w:(i+1)*w], i)
					}
				}), nil
			},
		}),
		u.row(devices.Kernel{
			Name: "rescale.f32", Op: bitlinear.RescaleOp.OpDef, Order: "each", InPlace: one,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				acc, s, gamma, y, n := host.I32(c.In[0]), f32(c.In[1]), f32(c.In[2]), f32(c.Out[0]), c.Out[0].Last()
				return rowChunks(c, len(s), n, func(from, to int) {
					for i := from; i < to; i++ {
						u.isa.Rescale(y[i*n:(i+1)*n], acc[i*n:(i+1)*n], gamma[0]/s[i])
					}
				}), nil
			},
		}),
	}...)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func silu(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) * sigmoid(float64(v)))
	}
}

func siluGrad(dx, x, dy []float32) {
	for i, v := range x {
		s := sigmoid(float64(v))
		dx[i] = float32(s * (1 + float64(v)*(1-s)) * float64(dy[i]))
	}
}

func gaussCDF(x float64) float64 { return (1 + math.Erf(x/math.Sqrt2)) / 2 }

func gelu(y, x []float32) {
	for i, v := range x {
		y[i] = float32(float64(v) * gaussCDF(float64(v)))
	}
}

func geluGrad(dx, x, dy []float32) {
	for i, v := range x {
		f := float64(v)
		dx[i] = float32((gaussCDF(f) + f*math.Exp(-f*f/2)/math.Sqrt(2*math.Pi)) * float64(dy[i]))
	}
}

// castKernel converts between f32 and the half-precision types.
func (u *unit) castKernel() devices.Kernel {
	return u.row(devices.Kernel{
		Name: "cast", Op: ops.CastOp.OpDef, Order: "each",
		Accept: func(c *devices.Call) error {
			if c.In[0].Elem == graph.F64 {
				return fmt.Errorf("it does not convert %s", c.In[0].Elem)
			}
			return nil
		},
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newLoader(c.In[0], s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			load, out, n := u.newLoader(c.In[0], bindScratch(c)), c.Out[0], c.Out[0].Len()
			f, h := f32(out), host.U16(out)
			return host.Parallel(c, ceilDiv(n, widenBlock), func(task, worker int) {
				from, to := task*widenBlock, min(n, (task+1)*widenBlock)
				x := load.get(worker, from, to)
				switch out.Elem {
				case graph.BF16:
					u.isa.F32ToBF16(h[from:to], x)
				case graph.F16:
					u.isa.F32ToF16(h[from:to], x)
				default:
					copy(f[from:to], x)
				}
			}), nil
		},
	})
}
