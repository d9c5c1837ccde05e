package gorgonia_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/trit-ml/trit/devices/auto"
	bridge "github.com/trit-ml/trit/interop/gorgonia"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// normal is a tensor of random numbers.
func normal(seed uint64, shape ...int) *tensor.Dense {
	r := rand.New(rand.NewPCG(seed, 0))
	vals := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range vals {
		vals[i] = float32(r.NormFloat64())
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(vals))
}

// data is inputs [n,8] and targets [n,4]: the sums of neighbouring inputs, which
// is a product with a ternary matrix.
func data(n int) (x, y *tensor.Dense) {
	x, y = normal(2, n, 8), normal(3, n, 4)
	for i := range y.Float32s() {
		y.Float32s()[i] = x.Float32s()[2*i] + x.Float32s()[2*i+1]
	}
	return x, y
}

// perceptron is an ordinary Gorgonia model with a loss.
func perceptron() (g *G.ExprGraph, x, y, out, loss *G.Node) {
	g = G.NewGraph()
	weight := func(name string, shape ...int) *G.Node {
		return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name), G.WithValue(normal(1, shape...)))
	}
	x = G.NewMatrix(g, tensor.Float32, G.WithShape(16, 8), G.WithName("x"))
	y = G.NewMatrix(g, tensor.Float32, G.WithShape(16, 4), G.WithName("y"))
	h := G.Must(G.BroadcastAdd(G.Must(G.Mul(x, weight("fc1.w", 8, 32))), weight("fc1.b", 32), nil, []byte{0}))
	out = G.Must(G.Mul(G.Must(G.Rectify(h)), weight("fc2.w", 32, 4)))
	loss = G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(out, y))))))
	return g, x, y, out, loss
}

// A Gorgonia model is imported, made ternary, trained and run, without a change
// to the code that declares it.
func ExampleImport() {
	ctx := context.Background()
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	g, x, y, out, loss := perceptron()

	// Training: the loss, with the batch as a symbol.
	batch := bridge.Batch("B", 1, 1024, x, y)
	lossGraph, params, err := bridge.Import(g, G.Nodes{loss}, batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	if lossGraph, err = bridge.Ternarize(lossGraph, bridge.Named("fc*.w")); err != nil {
		fmt.Println(err)
		return
	}
	trainer, err := bridge.NewTrainer(ctx, lossGraph, params, dev, bridge.AdamW{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer trainer.Close()
	xs, ys := data(100)
	var first, last float64
	for i := range 300 {
		if last, err = trainer.Step(ctx, map[string]*tensor.Dense{"x": xs, "y": ys}, 0.01, 0); err != nil {
			fmt.Println(err)
			return
		}
		if i == 0 {
			first = last
		}
	}
	if err := trainer.Sync(ctx); err != nil { // into Gorgonia's weights
		fmt.Println(err)
		return
	}
	fmt.Println("trained to less than a tenth:", last < first/10)

	// Inference: the output, with ternary weights and integer products.
	outGraph, params, err := bridge.Import(g, G.Nodes{out}, bridge.Batch("B", 1, 1024, x))
	if err == nil {
		outGraph, err = bridge.Ternarize(outGraph, bridge.Named("fc*.w"))
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := bridge.NewMachine(ctx, outGraph, params, dev)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer machine.Close()
	outs, err := machine.Run(ctx, map[string]*tensor.Dense{"x": xs})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("output", outs[0].Shape())
	products := 0
	for _, n := range machine.Program().Graph().Nodes {
		if n.Op.Name == "ternary.matmul" || strings.HasPrefix(n.Op.Name, "fused.bitlinear") {
			products++
		}
	}
	fmt.Println("integer products:", products)
	// Output:
	// trained to less than a tenth: true
	// output (100, 4)
	// integer products: 2
}

// BitLinear stands in the place of G.Mul; machine and solver are Gorgonia's own.
func ExampleBitLinear() {
	g := G.NewGraph()
	x := G.NewMatrix(g, tensor.Float32, G.WithShape(64, 8), G.WithName("x"))
	y := G.NewMatrix(g, tensor.Float32, G.WithShape(64, 4), G.WithName("y"))
	w := G.NewMatrix(g, tensor.Float32, G.WithShape(8, 4), G.WithName("w"), G.WithValue(normal(1, 8, 4)))
	out := G.Must(bridge.BitLinear(x, w))
	loss := G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(out, y))))))
	if _, err := G.Grad(loss, w); err != nil {
		fmt.Println(err)
		return
	}
	machine := G.NewTapeMachine(g, G.BindDualValues(w))
	defer machine.Close()
	solver := G.NewAdamSolver(G.WithLearnRate(0.05))
	var losses []float32
	for range 100 {
		xs, ys := data(64)
		if err := errors.Join(G.Let(x, xs), G.Let(y, ys)); err != nil {
			fmt.Println(err)
			return
		}
		if err := machine.RunAll(); err != nil {
			fmt.Println(err)
			return
		}
		losses = append(losses, loss.Value().Data().(float32))
		if err := solver.Step(G.NodesToValueGrads(G.Nodes{w})); err != nil {
			fmt.Println(err)
			return
		}
		machine.Reset()
	}
	fmt.Println("trained to less than a hundredth:", losses[99] < losses[0]/100)
	// Output:
	// trained to less than a hundredth: true
}

// An op that trit lacks is refused with the path from the output to it.
func ExampleRefusedError() {
	g := G.NewGraph()
	x := G.NewMatrix(g, tensor.Float32, G.WithShape(3, 4), G.WithName("x"))
	top := G.Must(G.Max(G.Must(G.Tanh(x)), 1))
	_, _, err := bridge.Import(g, G.Nodes{G.Must(G.Neg(top))})
	fmt.Println(err)
	// Output:
	// gorgonia: node neg(%2) → MaxAlong[1](%1): op "MaxAlong[1]": trit has no counterpart of this op (*gorgonia.maxOp)
}

// The tensors are one memory.
func ExampleFromDense() {
	d := tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{1, 2, 3, 4}))
	t, err := bridge.FromDense(d)
	if err != nil {
		fmt.Println(err)
		return
	}
	t.F32()[0] = 9
	fmt.Println(t.Type(), d.Data())
	// Output:
	// f32[2,2] [9 2 3 4]
}

// An Engine puts trit's kernels under Gorgonia's own MatMul.
func ExampleEngine() {
	engine, err := bridge.NewEngine()
	if err != nil {
		fmt.Println(err)
		return
	}
	a := tensor.New(tensor.WithShape(64, 64), tensor.WithBacking(make([]float32, 64*64)), tensor.WithEngine(engine))
	for i := range 64 {
		if err := a.SetAt(float32(i), i, i); err != nil {
			fmt.Println(err)
			return
		}
	}
	squares, err := tensor.MatMul(a, a)
	if err != nil {
		fmt.Println(err)
		return
	}
	last, err := squares.At(63, 63)
	fmt.Println(last, err)
	// Output:
	// 3969 <nil>
}
