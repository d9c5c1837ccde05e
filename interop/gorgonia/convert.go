package gorgonia

import (
	"errors"
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"

	G "gorgonia.org/gorgonia"
)

// op imports a node with operands.
func (im *importer) op(n *G.Node) (graph.Value, error) {
	kids := im.children(n)
	if k, ok := n.Op().(*kernelOp); ok {
		in, err := im.nodes(kids)
		if err != nil {
			return graph.Value{}, err
		}
		return k.lower(in), nil
	}
	switch kind(n) {
	case "elemBinOp":
		return im.elementwise(n, kids)
	case "elemUnaryOp":
		return im.unary(n, kids)
	case "linAlgBinOp":
		return im.product(n, kids)
	case "sumOp":
		return im.sum(n, kids[0], false)
	case "softmaxOp":
		return im.softmax(n, kids)
	case "byIndicesOp":
		return im.byIndices(n, kids)
	case "sizeOp":
		return im.size(n, kids)
	case "repeatOp":
		return im.repeat(n, kids)
	case "reshapeOp":
		return im.reshape(n, kids)
	case "transposeOp":
		return im.transpose(n, kids)
	case "sliceOp":
		return im.slice(n, kids)
	case "concatOp":
		return im.concat(n, kids)
	}
	return graph.Value{}, im.refuse("trit has no counterpart of this op (%T)", n.Op())
}

// nodes imports several nodes.
func (im *importer) nodes(ns G.Nodes) ([]graph.Value, error) {
	out := make([]graph.Value, len(ns))
	for i, n := range ns {
		v, err := im.node(n)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// relations names Gorgonia's comparisons, and what they become when their
// operands are exchanged.
var relations = map[string][2]string{
	"<": {"lt", "gt"}, ">": {"gt", "lt"}, "<=": {"le", "ge"}, ">=": {"ge", "le"}, "==": {"eq", "eq"}, "!=": {"ne", "ne"},
}

// elementwise imports arithmetic and comparisons.
func (im *importer) elementwise(n *G.Node, kids G.Nodes) (graph.Value, error) {
	if x := im.rectified(n, kids); x != nil {
		v, err := im.node(x)
		return ops.ReLU(v), err
	}
	if s := im.meanOf(n, kids); s != nil {
		im.path = append(im.path, s)
		defer func() { im.path = im.path[:len(im.path)-1] }()
		return im.sum(s, im.children(s)[0], true)
	}
	symbol, numbers := binary(n.Op())
	rel, compares := relations[symbol]
	if compares && !numbers {
		return graph.Value{}, im.refuse("booleans cannot be represented; compare with retSame, which gives 0 and 1")
	}
	in, err := im.nodes(kids)
	if err != nil {
		return graph.Value{}, err
	}
	a, b := in[0], in[1]
	ar, br := a.Type().Rank(), b.Type().Rank()
	if ar != 0 && br != 0 && !a.Type().Shape.Equal(b.Type().Shape) {
		// Gorgonia takes a vector for the row or column with as many elements.
		a, b = im.alike(n, a), im.alike(n, b)
	}
	scalarFirst := ar == 0 && br != 0
	switch symbol {
	case "+", "⊙":
		if scalarFirst {
			a, b = b, a
		}
		if symbol == "+" {
			return ops.Add(a, b), nil
		}
		return ops.Mul(a, b), nil
	case "-":
		if scalarFirst {
			return ops.Add(ops.Scale(b, -1), a), nil
		}
		return ops.Sub(a, b), nil
	case "÷":
		if scalarFirst {
			a = spread(a, b)
		}
		return ops.Div(a, b), nil
	case "^":
		return im.pow(a, b)
	}
	switch {
	case compares && scalarFirst:
		return ops.Compare(b, a, rel[1]), nil
	case compares:
		return ops.Compare(a, b, rel[0]), nil
	}
	return graph.Value{}, im.refuse("trit has no counterpart of this op")
}

// alike gives an operand the shape of the node, which has as many elements.
func (im *importer) alike(n *G.Node, v graph.Value) graph.Value {
	if v.Type().Rank() == n.Shape().Dims() {
		return v
	}
	dims, err := im.reshaped(v, n.Shape())
	if err != nil {
		return im.b.Errorf("%w", err)
	}
	return ops.Reshape(v, dims...)
}

// pow imports powers with a constant exponent.
func (im *importer) pow(a, b graph.Value) (graph.Value, error) {
	if e, ok := constOf(b); ok {
		switch e {
		case 1:
			return a, nil
		case 2:
			return ops.Mul(a, a), nil
		case 3:
			return ops.Mul(ops.Mul(a, a), a), nil
		case 4:
			sq := ops.Mul(a, a)
			return ops.Mul(sq, sq), nil
		case 0.5:
			return ops.Sqrt(a), nil
		case -0.5:
			return im.inverse(ops.Sqrt(a)), nil
		case -1:
			return im.inverse(a), nil
		}
	}
	return graph.Value{}, im.refuse("powers are imported with the constant exponents 1, 2, 3, 4, 1/2, -1/2 and -1 only")
}

// inverse is 1/v.
func (im *importer) inverse(v graph.Value) graph.Value {
	return ops.Div(spread(im.b.ConstF32(1), v), v)
}

// spread repeats a scalar over the shape of v.
func spread(scalar, v graph.Value) graph.Value {
	shape := v.Type().Shape
	if len(shape) == 0 {
		return scalar
	}
	ones := make(graph.Shape, len(shape))
	for i := range ones {
		ones[i] = graph.C(1)
	}
	return ops.Broadcast(ops.Reshape(scalar, ones...), shape...)
}

// unary imports functions of one operand.
func (im *importer) unary(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	zero := func() graph.Value { return im.b.ConstF32(0) }
	switch n.Op().String() {
	case "abs":
		return ops.Abs(x), nil
	case "sign":
		return ops.Sub(ops.Compare(x, zero(), "gt"), ops.Compare(x, zero(), "lt")), nil
	case "sin":
		return ops.Sin(x), nil
	case "cos":
		return ops.Cos(x), nil
	case "exp":
		return ops.Exp(x), nil
	case "expm1":
		return ops.Expm1(x), nil
	case "ln":
		return ops.Log(x), nil
	case "log2":
		return ops.Scale(ops.Log(x), 1/math.Ln2), nil
	case "log1p":
		return ops.Log1p(x), nil
	case "neg":
		return ops.Scale(x, -1), nil
	case "square":
		return ops.Mul(x, x), nil
	case "cube":
		return ops.Mul(ops.Mul(x, x), x), nil
	case "sqrt":
		return ops.Sqrt(x), nil
	case "inv":
		return im.inverse(x), nil
	case "invSqrt":
		return im.inverse(ops.Sqrt(x)), nil
	case "tanh":
		return ops.Tanh(x), nil
	case "sigmoid":
		return ops.Sigmoid(x), nil
	case "softplus":
		return ops.Softplus(x), nil
	}
	return graph.Value{}, im.refuse("trit has no counterpart of this function")
}

// product imports products of matrices and vectors. A transpose of an operand
// becomes part of the product.
func (im *importer) product(n *G.Node, kids G.Nodes) (graph.Value, error) {
	symbol, ta, tb := product(n.Op())
	a, b := kids[0], kids[1]
	if symbol == "A×B" || symbol == "A×b" {
		if x := im.untransposed(a); x != nil {
			a, ta = x, !ta
		}
	}
	if symbol == "A×B" {
		if x := im.untransposed(b); x != nil {
			b, tb = x, !tb
		}
	}
	in, err := im.nodes(G.Nodes{a, b})
	if err != nil {
		return graph.Value{}, err
	}
	x, y := in[0], in[1]
	one := graph.C(1)
	switch symbol {
	case "A×B":
		return ops.MatMul(x, y, ta, tb), nil
	case "A×b":
		col := ops.MatMul(x, ops.Reshape(y, y.Dim(0), one), ta, false)
		return ops.Reshape(col, col.Dim(0)), nil
	case "a⋅b":
		return ops.Sum(ops.Mul(x, y)), nil
	case "a⊗b":
		return ops.MatMul(ops.Reshape(x, x.Dim(0), one), ops.Reshape(y, one, y.Dim(0)), false, false), nil
	case "A×××B":
		return ops.BatchMatMul(x, y, ta, tb), nil
	}
	return graph.Value{}, im.refuse("trit has no counterpart of this product")
}

// untransposed is the matrix that n transposes, or nil.
func (im *importer) untransposed(n *G.Node) *G.Node {
	if kind(n) != "transposeOp" || !slices.Equal(integers(n.Op()), []int{1, 0}) {
		return nil
	}
	return im.children(n)[0]
}

// sum adds along axes, the last one first, so that the numbers of those before
// it stay valid.
func (im *importer) sum(n, kid *G.Node, mean bool) (graph.Value, error) {
	x, err := im.node(kid)
	if err != nil {
		return graph.Value{}, err
	}
	axes := integers(n.Op())
	if len(axes) == 0 || slices.Min(axes) < 0 {
		return graph.Value{}, im.refuse("the axes are not known")
	}
	slices.Sort(axes)
	axes = slices.Compact(axes)
	if !mean && len(axes) == x.Type().Rank() {
		return ops.Sum(x), nil
	}
	for _, a := range slices.Backward(axes) {
		if mean {
			x = ops.MeanAxis(x, a)
		} else {
			x = ops.SumAxis(x, a)
		}
	}
	return x, nil
}

// softmax moves the axis last and back.
func (im *importer) softmax(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	axis, err := field(n.Op(), "axis")
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	rank := x.Type().Rank()
	switch shape := n.Shape(); {
	case axis == -1 && (shape.IsColVec() || shape.IsVector() && !shape.IsRowVec()):
		axis = 0
	case axis == -1:
		axis = rank - 1
	}
	if axis < 0 || axis >= rank {
		return graph.Value{}, im.refuse("axis %d is outside %s", axis, x.Type())
	}
	f := ops.Softmax
	if v, err := isLog(n.Op()); err != nil {
		return graph.Value{}, im.refuse("%v", err)
	} else if v {
		f = ops.LogSoftmax
	}
	if axis == rank-1 {
		return f(x), nil
	}
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	perm[axis], perm[rank-1] = rank-1, axis
	return ops.Transpose(f(ops.Transpose(x, perm...)), perm...), nil
}

// byIndices is a look-up of rows in a table.
func (im *importer) byIndices(n *G.Node, kids G.Nodes) (graph.Value, error) {
	if axis := integers(n.Op()); !slices.Equal(axis, []int{0}) {
		return graph.Value{}, im.refuse("indices are imported along axis 0 only")
	}
	in, err := im.nodes(kids)
	if err != nil {
		return graph.Value{}, err
	}
	if in[0].Type().Rank() != 2 || in[1].Type().Elem != graph.I32 || in[1].Type().Rank() != 1 {
		return graph.Value{}, im.refuse("the table is %s and the indices are %s; want a matrix and a vector", in[0].Type(), in[1].Type())
	}
	return ops.Embedding(in[0], in[1]), nil
}

// errAmbiguous explains a reshape that does not keep the batch apart.
var errAmbiguous = errors.New("the batch cannot be followed through this shape: build the graph for a batch size that no other extent equals or divides, or import it with a fixed size")
