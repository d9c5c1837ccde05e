package gorgonia

import (
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"

	G "gorgonia.org/gorgonia"
)

// size imports the extent of an axis as a number.
func (im *importer) size(n *G.Node, kids G.Nodes) (graph.Value, error) {
	d, err := im.extent(n)
	if err != nil {
		return graph.Value{}, err
	}
	v, ok := d.Const()
	if !ok {
		return graph.Value{}, im.refuse("the size of the batch is not a constant; it is imported inside a mean or a broadcast only")
	}
	return im.b.ConstF32(float32(v)), nil
}

// extent is what a node that counts repeats stands for: a size, or a constant.
func (im *importer) extent(n *G.Node) (graph.Dim, error) {
	if kind(n) == "sizeOp" {
		x, err := im.node(im.children(n)[0])
		if err != nil {
			return graph.Dim{}, err
		}
		axis, err := field(n.Op(), "axis")
		if err != nil || axis < 0 || axis >= max(1, x.Type().Rank()) {
			return graph.Dim{}, im.refuse("axis %d is outside %s (%v)", axis, x.Type(), err)
		}
		if x.Type().Rank() == 0 {
			return graph.C(1), nil
		}
		return x.Dim(axis), nil
	}
	v, err := im.node(n)
	if err != nil {
		return graph.Dim{}, err
	}
	if c, ok := constOf(v); ok && c == float32(int(c)) {
		return graph.C(int(c)), nil
	}
	return graph.Dim{}, im.refuse("the number of repeats is neither a size nor a constant")
}

// repeat imports the repetition that broadcasts are made of.
func (im *importer) repeat(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	times, err := im.extent(kids[1])
	if err != nil {
		return graph.Value{}, err
	}
	axes := integers(n.Op())
	if len(axes) != 1 || axes[0] < 0 {
		return graph.Value{}, im.refuse("the axis is not known")
	}
	axis, one := axes[0], graph.C(1)
	shape := slices.Clone(x.Type().Shape)
	for len(shape) <= axis {
		shape = append(shape, one) // a scalar becomes a vector, a vector a column
	}
	if len(shape) != x.Type().Rank() {
		x = ops.Reshape(x, shape...)
	}
	if shape[axis] == one {
		shape[axis] = times
		return ops.Broadcast(x, shape...), nil
	}
	// Every element is repeated in place: along an axis of its own.
	count, ok := times.Const()
	if !ok {
		return graph.Value{}, im.refuse("an axis of extent %s cannot be repeated by the size of the batch", shape[axis])
	}
	apart := slices.Insert(slices.Clone(shape), axis+1, one)
	x = ops.Reshape(x, apart...)
	apart[axis+1] = times
	shape[axis] = shape[axis].Times(count)
	return ops.Reshape(ops.Broadcast(x, apart...), shape...), nil
}

func (im *importer) reshape(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	dims, err := im.reshaped(x, n.Shape())
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	return ops.Reshape(x, dims...), nil
}

// reshaped finds where the batch of x is in a shape with as many elements. The
// axes before it must multiply to the same number, so that an example's elements
// stay its own.
func (im *importer) reshaped(x graph.Value, to []int) (graph.Shape, error) {
	shape := graph.Dims(to...)
	from := x.Type().Shape
	at := slices.IndexFunc(from, func(d graph.Dim) bool { return d.Sym != "" })
	if at < 0 {
		return shape, nil
	}
	before, after := 1, 1
	for i, d := range from {
		n, ok := d.Const()
		switch {
		case i != at && !ok:
			return nil, errAmbiguous
		case i < at:
			before *= n
		case i > at:
			after *= n
		}
	}
	d := from[at]
	if d.Add != 0 || im.batch == 0 {
		return nil, errAmbiguous
	}
	for i, n := range to {
		if before == 1 && n%im.batch == 0 && n > 0 {
			// The rest of the extents must divide what one example holds.
			rest := 1
			for _, m := range to[i+1:] {
				rest *= m
			}
			if rest > 0 && d.Mul*after%rest == 0 && d.Mul*after/rest*im.batch == n {
				shape[i] = graph.Dim{Sym: d.Sym, Mul: n / im.batch}
				return shape, nil
			}
		}
		if n == 0 || before%n != 0 {
			break
		}
		before /= n
	}
	return nil, errAmbiguous
}

func (im *importer) transpose(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	return ops.Transpose(x, integers(n.Op())...), nil
}

// slice imports a range of an axis; a range of one element drops the axis.
func (im *importer) slice(n *G.Node, kids G.Nodes) (graph.Value, error) {
	x, err := im.node(kids[0])
	if err != nil {
		return graph.Value{}, err
	}
	s, axis, err := sliceOf(n.Op())
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	if axis < 0 || axis >= x.Type().Rank() {
		return graph.Value{}, im.refuse("axis %d is outside %s", axis, x.Type())
	}
	size := kids[0].Shape()[axis]
	if s == nil || s.Start() == 0 && s.End() == size && size != 1 && s.Step() <= 1 {
		return x, nil
	}
	from, to := s.Start(), s.End()
	if s.Step() > 1 {
		return graph.Value{}, im.refuse("a step of %d cannot be represented", s.Step())
	}
	if to <= from || to > size {
		return graph.Value{}, im.refuse("the range %d..%d is outside an axis of %d", from, to, size)
	}
	if _, ok := x.Dim(axis).Const(); !ok {
		return graph.Value{}, im.refuse("a part of the batch cannot be taken: its size is a symbol")
	}
	y := ops.Slice(x, axis, from, to)
	if to-from == 1 {
		y = ops.Reshape(y, slices.Delete(slices.Clone(y.Type().Shape), axis, axis+1)...)
	}
	return y, nil
}

func (im *importer) concat(n *G.Node, kids G.Nodes) (graph.Value, error) {
	in, err := im.nodes(kids)
	if err != nil {
		return graph.Value{}, err
	}
	axis, err := field(n.Op(), "axis")
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	return ops.Concat(axis, in[0], in[1:]...), nil
}
