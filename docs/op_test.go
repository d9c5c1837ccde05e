package docs

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// tanhOp is a new primitive: a type rule, a reference, a gradient.
var tanhOp = graph.Define(graph.Def[graph.None]{
	Name: "my.tanh", Doc: "y = tanh(x)", In: "x", Out: "y", Rowwise: []int{0},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) {
		return in[:1], ops.Check(in, ops.F32("x", -1))
	},
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		for i, x := range in[0].F32() {
			out[0].F32()[i] = float32(math.Tanh(float64(x)))
		}
		return nil
	},
	Grad: func(_ graph.None, c *graph.GradCtx) ([]graph.Value, error) {
		y, dy := c.Out[0], c.DOut[0] // dx = dy·(1 − y²)
		return []graph.Value{ops.Add(dy, ops.Scale(ops.Mul(dy, ops.Mul(y, y)), -1))}, nil
	},
})

// tanh is the wrapper that model code calls.
func tanh(x graph.Value) graph.Value { return tanhOp.One(graph.None{}, x) }

// Example_op differentiates the new op and runs both directions through the
// references.
func Example_op() {
	b := graph.NewBuilder("demo")
	w := b.Param("w", graph.F32, 2)
	loss := ops.Sum(tanh(w))
	grads, err := graph.Gradients(b, loss, []graph.Value{w}, ops.Add)
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := b.Finish(loss, grads[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := graph.Eval(g, graph.Env{Params: map[string]graph.Tensor{"w": graph.FromF32([]float32{0, 1}, 2)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.4f %.4f\n", res.Outs[0].F32(), res.Outs[1].F32())
	// Output: [0.7616] [1.0000 0.4200]
}
