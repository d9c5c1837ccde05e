package ops

import "github.com/trit-ml/trit/graph"

// unary defines an elementwise f32 function y = f(x) together with the op for
// its gradient, dx = df(x) * dy.
func unary(name, doc string, f, df func(x float64) float64) (fwd, bwd graph.Op[graph.None]) {
	bwd = graph.Define(graph.Def[graph.None]{
		Name: name + ".grad", Doc: "dx = dy * d/dx " + name + "(x)", In: "x, dy", Out: "dx", BF16: "x, dy -> dx",
		Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
			if err := Check(in, F32("x", -1), F32("dy", -1)); err != nil {
				return nil, err
			}
			return one(in[0]), Same("x", in[0], "dy", in[1])
		},
		Ref: func(_ graph.None, in, out []graph.Tensor) error {
			x, dy, dx := in[0].F32(), in[1].F32(), out[0].F32()
			for i := range dx {
				dx[i] = float32(df(float64(x[i])) * float64(dy[i]))
			}
			return nil
		},
	})
	grad := bwd
	fwd = graph.Define(graph.Def[graph.None]{
		Name: name, Doc: doc, In: "x", Out: "y", BF16: "x -> y", Rowwise: []int{0},
		Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
			return one(in[0]), Check(in, F32("x", -1))
		},
		Ref: func(_ graph.None, in, out []graph.Tensor) error {
			x, y := in[0].F32(), out[0].F32()
			for i := range y {
				y[i] = float32(f(float64(x[i])))
			}
			return nil
		},
		Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
			return grad.Emit(graph.None{}, c.In[0], c.DOut[0]), nil
		},
	})
	return fwd, bwd
}
