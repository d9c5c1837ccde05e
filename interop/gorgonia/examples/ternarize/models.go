package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// linear is G.Mul or BitLinear.
type linear func(x, w *G.Node) (*G.Node, error)

// build makes a model with the given linear layers.
type build func(linear) *model

// model is a Gorgonia graph with a regression loss on fixed data.
type model struct {
	g               *G.ExprGraph
	x, y, out, loss *G.Node
	weights         G.Nodes
	xs, ys          *tensor.Dense
	r               *rand.Rand
}

func newModel(rows, in, out int) *model {
	m := &model{g: G.NewGraph(), r: rand.New(rand.NewPCG(1, 2))}
	m.x = G.NewMatrix(m.g, tensor.Float32, G.WithShape(rows, in), G.WithName("x"))
	m.y = G.NewMatrix(m.g, tensor.Float32, G.WithShape(rows, out), G.WithName("y"))
	m.xs, m.ys = m.normal(1, rows, in), m.normal(1, rows, out)
	return m
}

func (m *model) normal(scale float64, shape ...int) *tensor.Dense {
	vals := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range vals {
		vals[i] = float32(scale * m.r.NormFloat64())
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(vals))
}

// weight declares a matrix; those to be ternarized have names that begin with w.
func (m *model) weight(rows, cols int) *G.Node {
	w := G.NewMatrix(m.g, tensor.Float32, G.WithShape(rows, cols), G.WithName(fmt.Sprintf("w%d", len(m.weights))),
		G.WithValue(m.normal(1/math.Sqrt(float64(rows)), rows, cols)))
	m.weights = append(m.weights, w)
	return w
}

func (m *model) bias(n int) *G.Node {
	b := G.NewVector(m.g, tensor.Float32, G.WithShape(n), G.WithName(fmt.Sprintf("b%d", len(m.weights))),
		G.WithValue(tensor.New(tensor.WithShape(n), tensor.Of(tensor.Float32))))
	m.weights = append(m.weights, b)
	return b
}

func (m *model) finish(out *G.Node) *model {
	m.out = out
	m.loss = G.Must(G.Mean(G.Must(G.Square(G.Must(G.Sub(out, m.y))))))
	return m
}

// let binds the data, as Gorgonia's machines want it before every run.
func (m *model) let() error {
	if err := G.Let(m.x, m.xs); err != nil {
		return err
	}
	return G.Let(m.y, m.ys)
}

func mlp(mul linear) *model {
	m := newModel(64, 256, 32)
	h := m.x
	for _, n := range []int{512, 512, 32} {
		h = G.Must(G.BroadcastAdd(G.Must(mul(h, m.weight(h.Shape()[1], n))), m.bias(n), nil, []byte{0}))
		if n != 32 {
			h = G.Must(G.Rectify(h))
		}
	}
	return m.finish(h)
}

// block is a pre-norm transformer block with causal attention and a squared
// rectifier, from Gorgonia's primitives.
func block(mul linear) *model {
	const tokens, dim, heads, wide = 64, 256, 4, 1024
	const head = dim / heads
	m := newModel(tokens, dim, dim)
	norm := func(x *G.Node) *G.Node {
		ms := G.Must(G.Mean(G.Must(G.Square(x)), 1))
		rms := G.Must(G.Sqrt(G.Must(G.Add(ms, G.NewConstant(float32(1e-5))))))
		return G.Must(G.BroadcastHadamardDiv(x, rms, nil, []byte{1}))
	}
	split := func(x *G.Node) *G.Node { // [tokens,dim] to [heads,tokens,head]
		return G.Must(G.Transpose(G.Must(G.Reshape(x, tensor.Shape{tokens, heads, head})), 1, 0, 2))
	}
	n := norm(m.x)
	q := split(G.Must(mul(n, m.weight(dim, dim))))
	k := split(G.Must(mul(n, m.weight(dim, dim))))
	v := split(G.Must(mul(n, m.weight(dim, dim))))
	scores := G.Must(G.BatchedMatMul(q, k, false, true))
	scores = G.Must(G.HadamardProd(scores, G.NewConstant(float32(1/math.Sqrt(head)))))
	scores = G.Must(G.Add(scores, G.NewConstant(causal(heads, tokens), G.WithName("mask"))))
	mixed := G.Must(G.BatchedMatMul(G.Must(G.SoftMax(scores, 2)), v))
	mixed = G.Must(G.Reshape(G.Must(G.Transpose(mixed, 1, 0, 2)), tensor.Shape{tokens, dim}))
	x := G.Must(G.Add(m.x, G.Must(mul(mixed, m.weight(dim, dim)))))
	h := G.Must(mul(norm(x), m.weight(dim, wide)))
	h = G.Must(G.Square(G.Must(G.Rectify(h))))
	return m.finish(G.Must(G.Add(x, G.Must(mul(norm(h), m.weight(wide, dim))))))
}

// causal hides what comes after a token.
func causal(heads, tokens int) *tensor.Dense {
	vals := make([]float32, heads*tokens*tokens)
	for i := range vals {
		if row, col := i/tokens%tokens, i%tokens; col > row {
			vals[i] = -1e9
		}
	}
	return tensor.New(tensor.WithShape(heads, tokens, tokens), tensor.WithBacking(vals))
}
