package ops

import "github.com/trit-ml/trit/graph"

// LogSoftmaxOp is the logarithm of softmax, exact also where softmax underflows.
var LogSoftmaxOp = graph.Define(graph.Def[graph.None]{
	Name: "log_softmax", Doc: "y = x - log Σ exp(x), per row", In: "x", Out: "y",
	BF16:    "x -> y",
	Rowwise: []int{0},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return one(in[0]), Check(in, F32("x", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		d := in[0].Row()
		x, y := in[0].F32(), out[0].F32()
		for o := 0; o < len(x); o += d {
			l := logSumExp(x[o : o+d])
			for j := o; j < o+d; j++ {
				y[j] = float32(float64(x[j]) - l)
			}
		}
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		dy, last := c.DOut[0], c.In[0].Type().Rank()-1
		if last < 0 {
			return []graph.Value{Sub(dy, dy)}, nil // a row of one has the constant 0
		}
		sum := Broadcast(keepAxis(SumAxis(dy, last), last), dy.Type().Shape...)
		return []graph.Value{Sub(dy, Mul(Exp(c.Out[0]), sum))}, nil
	},
})

// LogSoftmax returns the logarithm of the softmax of each row of x.
func LogSoftmax(x graph.Value) graph.Value { return LogSoftmaxOp.One(graph.None{}, x) }
