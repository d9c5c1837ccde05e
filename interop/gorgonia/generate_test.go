package gorgonia

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// builder draws a random Gorgonia graph over the ops that can be imported.
type builder struct {
	r      *rand.Rand
	g      *G.ExprGraph
	leaves G.Nodes
	nodes  G.Nodes
	err    error
	used   map[string]int
}

// leaf declares a weight. Values stay away from zero, where some functions have
// a kink and others a pole.
func (b *builder) leaf(shape ...int) *G.Node {
	n := 1
	for _, d := range shape {
		n *= d
	}
	vals := make([]float32, n)
	for i := range vals {
		vals[i] = 0.3 + b.r.Float32()
		if b.r.IntN(2) == 0 {
			vals[i] = -vals[i]
		}
	}
	name := fmt.Sprintf("w%d", len(b.leaves))
	var x *G.Node
	if len(shape) == 0 {
		x = G.NewScalar(b.g, tensor.Float32, G.WithName(name), G.WithValue(vals[0]))
	} else {
		x = G.NewTensor(b.g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name),
			G.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(vals))))
	}
	b.leaves = append(b.leaves, x)
	b.nodes = append(b.nodes, x)
	return x
}

// add records the result of an op.
func (b *builder) add(op string, n *G.Node, err error) *G.Node {
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("%s: %w", op, err))
		return nil
	}
	b.used[op]++
	b.nodes = append(b.nodes, n)
	return n
}

func (b *builder) pick() *G.Node { return b.nodes[b.r.IntN(len(b.nodes))] }

// other is a node of the shape of x, or a new weight.
func (b *builder) other(x *G.Node) *G.Node {
	var fit G.Nodes
	for _, n := range b.nodes {
		if n != x && slices.Equal(n.Shape(), x.Shape()) {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 || b.r.IntN(3) == 0 {
		return b.leaf(x.Shape()...)
	}
	return fit[b.r.IntN(len(fit))]
}

// tame keeps values in a range where float32 has digits to spare.
func (b *builder) tame(x *G.Node) *G.Node { return b.add("tanh", must(G.Tanh(x)), nil) }

// above is a node with values of at least 0.1.
func (b *builder) above(x *G.Node) *G.Node {
	sq := must(G.Square(x))
	return b.add("square", must(G.Add(sq, G.NewConstant(float32(0.1)))), nil)
}

// axes is one axis or none, which is the last; for a column Gorgonia's gradient
// then is that of another axis, see TestGradientsThatDiffer.
func (b *builder) axes(shape tensor.Shape, axis int) []int {
	if shape.IsColVec() || b.r.IntN(2) == 0 {
		return []int{axis}
	}
	return nil
}

func must(n *G.Node, err error) *G.Node {
	if err != nil {
		panic(err)
	}
	return n
}

// step applies one random op.
func (b *builder) step() {
	x := b.pick()
	shape := x.Shape()
	rank := shape.Dims()
	axis := 0
	if rank > 0 {
		axis = b.r.IntN(rank)
	}
	c := func(v float32) *G.Node { return G.NewConstant(v) }
	try := func(name string, f func() (*G.Node, error)) {
		n, err := f()
		b.add(name, n, err)
	}
	switch k := b.r.IntN(37); {
	case k == 0:
		try("add", func() (*G.Node, error) { return G.Add(x, b.other(x)) })
	case k == 1:
		try("sub", func() (*G.Node, error) { return G.Sub(x, b.other(x)) })
	case k == 2:
		try("mul", func() (*G.Node, error) { return G.HadamardProd(x, b.other(x)) })
	case k == 3:
		d := b.above(b.other(x))
		try("div", func() (*G.Node, error) { return G.HadamardDiv(x, d) })
	case k == 4 && rank > 0:
		s := b.leaf()
		ops := []func(a, b *G.Node) (*G.Node, error){G.Add, G.Sub, G.HadamardProd, G.HadamardDiv}
		i := b.r.IntN(4)
		try(fmt.Sprint("scalar right ", i), func() (*G.Node, error) { return ops[i](x, s) })
	case k == 5 && rank > 0:
		s := b.leaf()
		ops := []func(a, b *G.Node) (*G.Node, error){G.Add, G.Sub, G.HadamardProd}
		i := b.r.IntN(3)
		try(fmt.Sprint("scalar left ", i), func() (*G.Node, error) { return ops[i](s, x) })
	case k == 6:
		try("constant", func() (*G.Node, error) { return G.HadamardProd(x, c(0.7)) })
	case k == 7:
		fs := []func(*G.Node) (*G.Node, error){G.Abs, G.Sin, G.Cos, G.Neg, G.Square, G.Cube, G.Tanh, G.Sigmoid, G.Softplus}
		i := b.r.IntN(len(fs))
		try(fmt.Sprint("unary ", i), func() (*G.Node, error) { return fs[i](b.tame(x)) })
	case k == 8:
		fs := []func(*G.Node) (*G.Node, error){G.Log, G.Log1p, G.Sqrt, G.Inverse}
		i := b.r.IntN(len(fs))
		try(fmt.Sprint("positive ", i), func() (*G.Node, error) { return fs[i](b.above(x)) })
	case k == 9:
		fs := []func(*G.Node) (*G.Node, error){G.Exp, G.Expm1}
		i := b.r.IntN(2)
		try(fmt.Sprint("exp ", i), func() (*G.Node, error) { return fs[i](b.tame(x)) })
	case k == 10:
		try("rectify", func() (*G.Node, error) { return G.Rectify(x) })
	case k == 11:
		try("leaky", func() (*G.Node, error) { return G.LeakyRelu(x, 0.1) })
	case k == 12:
		try("mean all", func() (*G.Node, error) { return G.Mean(x) })
	case k == 13 && rank > 1:
		try("mean", func() (*G.Node, error) { return G.Mean(x, axis) })
	case k == 14 && rank > 1:
		try("sum", func() (*G.Node, error) { return G.Sum(x, axis) })
	case k <= 18 && rank == 2:
		w := b.leaf(shape[1], 1+b.r.IntN(4))
		try("matmul", func() (*G.Node, error) { return G.Mul(b.tame(x), w) })
	case k == 19 && rank == 2:
		w := b.leaf(1+b.r.IntN(4), shape[1])
		try("matmul right transposed", func() (*G.Node, error) { return G.Mul(b.tame(x), must(G.Transpose(w))) })
	case k == 20 && rank == 2:
		w := b.leaf(shape[0], 1+b.r.IntN(4))
		try("matmul left transposed", func() (*G.Node, error) { return G.Mul(must(G.Transpose(b.tame(x))), w) })
	case k == 21 && rank == 2:
		v := b.leaf(shape[1])
		try("matrix by vector", func() (*G.Node, error) { return G.Mul(b.tame(x), v) })
	case k == 22 && rank == 2:
		v := b.leaf(shape[0])
		try("vector by matrix", func() (*G.Node, error) { return G.Mul(v, b.tame(x)) })
	case k == 23 && rank == 1:
		try("dot", func() (*G.Node, error) { return G.Mul(b.tame(x), b.other(x)) })
	case k == 24 && rank == 3:
		w := b.leaf(shape[0], shape[2], 1+b.r.IntN(3))
		try("batched", func() (*G.Node, error) { return G.BatchedMatMul(b.tame(x), w) })
	case k == 25 && rank == 3:
		w := b.leaf(shape[0], 1+b.r.IntN(3), shape[2])
		try("batched transposed", func() (*G.Node, error) { return G.BatchedMatMul(b.tame(x), w, false, true) })
	case k == 26 && rank > 1:
		axes := b.axes(shape, axis)
		try("softmax", func() (*G.Node, error) { return G.SoftMax(b.tame(x), axes...) })
	case k == 27 && rank > 1:
		axes := b.axes(shape, axis)
		try("log softmax", func() (*G.Node, error) { return G.LogSoftMax(b.tame(x), axes...) })
	case k == 28 && rank > 1:
		to := tensor.Shape{shape.TotalSize()}
		if b.r.IntN(2) == 0 {
			to = tensor.Shape{shape[0], shape.TotalSize() / shape[0]}
		}
		// Gorgonia's machine works in place through a reshape, also where the
		// operand is used elsewhere: give it one of its own.
		own := must(G.HadamardProd(x, c(0.5+b.r.Float32())))
		try("reshape", func() (*G.Node, error) { return G.Reshape(own, to) })
	case k == 29 && rank > 1:
		perm := b.r.Perm(rank)
		try("transpose", func() (*G.Node, error) { return G.Transpose(x, perm...) })
	case k == 30 && rank > 0 && shape[axis] > 2:
		from := b.r.IntN(shape[axis] - 1)
		to := from + 2
		ss := make([]tensor.Slice, axis+1)
		ss[axis] = G.S(from, to)
		try("slice", func() (*G.Node, error) { return G.Slice(x, ss...) })
	case k == 31 && rank > 0:
		try("concat", func() (*G.Node, error) { return G.Concat(axis, x, b.other(x)) })
	case k <= 33 && rank == 2:
		v := b.leaf(shape[1])
		try("broadcast rows", func() (*G.Node, error) { return G.BroadcastAdd(x, v, nil, []byte{0}) })
	case k == 34 && rank == 2:
		v := b.leaf(shape[0])
		try("broadcast columns", func() (*G.Node, error) { return G.BroadcastHadamardProd(x, v, nil, []byte{1}) })
	case k == 35 && rank > 0:
		try("compare", func() (*G.Node, error) { return G.HadamardProd(x, must(G.Gt(x, c(0.05), true))) })
	case k == 36:
		try("pow", func() (*G.Node, error) { return G.Pow(b.tame(x), c(float32(2))) })
	}
}

// draw makes a random graph with a scalar loss.
func draw(seed uint64) (b *builder, loss *G.Node) {
	b = &builder{r: rand.New(rand.NewPCG(seed, 3)), g: G.NewGraph(), used: map[string]int{}}
	b.leaf(2+b.r.IntN(3), 2+b.r.IntN(3))
	if b.r.IntN(3) == 0 {
		b.leaf(2, 2+b.r.IntN(2), 2+b.r.IntN(3))
	}
	for range 3 + b.r.IntN(5) {
		b.step()
	}
	// The loss depends on the last results.
	var terms G.Nodes
	for _, n := range b.nodes[max(0, len(b.nodes)-3):] {
		n = must(G.Sigmoid(n))
		if n.Dims() > 0 {
			n = must(G.Sum(n))
		}
		terms = append(terms, n)
	}
	loss = terms[0]
	for _, t := range terms[1:] {
		loss = must(G.Add(loss, t))
	}
	return b, loss
}
