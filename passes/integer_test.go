package passes_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"github.com/trit-ml/trit/passes"
)

// TestIntegerForward holds a layer with products of codes to the one with fake
// quantization: the result within the stated bound of the exact one, which both
// are near, and the gradients, for the same gradient of the result, bit for bit.
func TestIntegerForward(t *testing.T) {
	const rows, k, n = 9, 300, 40
	b := graph.NewBuilder("layer")
	x, w := b.Param("x", graph.F32, rows, k), b.Param("w", graph.F32, n, k)
	y := bitlinear.Linear(x, w)
	loss := ops.Sum(ops.Mul(y, b.Param("dy", graph.F32, rows, n)))
	g, err := b.Finish(loss, y)
	if err != nil {
		t.Fatal(err)
	}
	fake := append(passes.Eval(false), passes.Grad(func(p string) bool { return p != "dy" }), passes.CSE(), passes.DCE())
	r := rand.New(rand.NewPCG(3, 4))
	params := map[string]graph.Tensor{"x": random(r, graph.F32, []int{rows, k}), "w": random(r, graph.F32, []int{n, k}), "dy": random(r, graph.F32, []int{rows, n})}
	var outs [2][]graph.Tensor
	for i, p := range []passes.Pipeline{fake, append(fake[:len(fake):len(fake)], passes.Lowered(true, false)...)} {
		g, err := p.Run(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		products := 0
		for _, node := range g.Nodes {
			if node.Op == bitlinear.IntLinearOp.OpDef {
				products++
			}
		}
		if products != i {
			t.Errorf("%d products of codes, want %d", products, i)
		}
		res, err := graph.Eval(g, graph.Env{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		outs[i] = res.Outs
	}
	for i, name := range []string{"dx", "dw"} {
		if !bytes.Equal(outs[0][2+i].Data, outs[1][2+i].Data) {
			t.Errorf("%s differs", name)
		}
	}
	xq, wq := graph.NewTensor(graph.F32, rows, k), graph.NewTensor(graph.F32, n, k)
	if err := ops.FakeQuantOp.Run(ops.Int8, []graph.Tensor{params["x"]}, []graph.Tensor{xq}); err != nil {
		t.Fatal(err)
	}
	if err := ternary.FakeOp.Run(ternary.AbsMean, []graph.Tensor{params["w"]}, []graph.Tensor{wq}); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		for j := range n {
			exact, sum := 0.0, 0.0
			for l := range k {
				p := float64(xq.F32()[i*k+l]) * float64(wq.F32()[j*k+l])
				exact += p
				sum += math.Abs(p)
			}
			a, b := float64(outs[0][1].F32()[i*n+j]), float64(outs[1][1].F32()[i*n+j])
			if bound := (k + 4) * 0x1p-24 * sum; math.Abs(a-b) > bound || math.Abs(b-exact) > 4*0x1p-24*sum {
				t.Fatalf("y[%d,%d] is %v in floats, %v of codes and %v exactly; bound %v", i, j, a, b, exact, bound)
			}
		}
	}
}
