package gorgonia

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"github.com/trit-ml/trit/graph"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// kernelOp is a Gorgonia op that trit's kernels compute. It implements G.Op,
// G.SDOp and G.ADOp.
type kernelOp struct {
	name  string         // with its settings: equal names are equal ops
	typ   func() hm.Type // a new one for every call: inference consumes it
	arity int
	// infer returns the shape of the result, or says what is wrong.
	infer func(in []tensor.Shape) (tensor.Shape, error)
	// run computes the result into out.
	run func(k *kernels, out graph.Tensor, in []graph.Tensor) error
	// grads are the rules of the operands' gradients; one without op is not
	// differentiable.
	grads []gradRule
	// lower is the counterpart in trit's graphs; nil for the gradients.
	lower func(in []graph.Value) graph.Value
}

// gradRule says that an operand's gradient is op, applied to these values.
type gradRule struct {
	op   *kernelOp
	from []source
}

// source is an operand's index, or one of the following.
type source int

const (
	result source = -1 - iota
	gradient
)

var (
	_ G.SDOp            = (*kernelOp)(nil)
	_ G.ADOp            = (*kernelOp)(nil)
	_ G.UsePreallocDoer = (*kernelOp)(nil)
)

// apply makes the node.
func (op *kernelOp) apply(in ...*G.Node) (*G.Node, error) {
	for i, n := range in {
		if n == nil {
			return nil, fmt.Errorf("gorgonia: %s: operand %d is nil", op.name, i)
		}
	}
	n, err := G.ApplyOp(op, in...)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %s: %w", op.name, err)
	}
	return n, nil
}

// Arity implements G.Op.
func (op *kernelOp) Arity() int { return op.arity }

// Type implements G.Op.
func (op *kernelOp) Type() hm.Type { return op.typ() }

// InferShape implements G.Op.
func (op *kernelOp) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes, err := G.DimSizersToShapes(in)
	if err == nil && len(shapes) != op.arity {
		err = fmt.Errorf("want %d operands, got %d", op.arity, len(shapes))
	}
	if err != nil {
		return nil, err
	}
	return op.infer(shapes)
}

// Do implements G.Op.
func (op *kernelOp) Do(in ...G.Value) (G.Value, error) {
	shapes := make([]tensor.Shape, len(in))
	for i, v := range in {
		shapes[i] = v.Shape()
	}
	if len(in) != op.arity {
		return nil, fmt.Errorf("gorgonia: %s: want %d operands, got %d", op.name, op.arity, len(in))
	}
	shape, err := op.infer(shapes)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %s: %w", op.name, err)
	}
	if shape.IsScalar() {
		return op.UsePreallocDo(G.NewF32(0), in...)
	}
	return op.UsePreallocDo(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(shape.Clone()...)), in...)
}

// UsePreallocDo implements G.UsePreallocDoer.
func (op *kernelOp) UsePreallocDo(prealloc G.Value, in ...G.Value) (G.Value, error) {
	fail := func(what any, err error) (G.Value, error) {
		return nil, fmt.Errorf("gorgonia: %s: %v: %w", op.name, what, err)
	}
	k, err := shared()
	if err != nil {
		return nil, err
	}
	ts := make([]graph.Tensor, len(in))
	for i, v := range in {
		if ts[i], err = fromValue(v); err != nil {
			return fail(fmt.Sprintf("operand %d", i), err)
		}
	}
	out, err := fromValue(prealloc)
	if err != nil {
		return fail("result", err)
	}
	if err := op.run(k, out, ts); err != nil {
		return nil, err
	}
	return prealloc, nil
}

// ReturnsPtr implements G.Op.
func (op *kernelOp) ReturnsPtr() bool { return true }

// CallsExtern implements G.Op; it makes the tape machine allocate the result
// once.
func (op *kernelOp) CallsExtern() bool { return true }

// OverwritesInput implements G.Op.
func (op *kernelOp) OverwritesInput() int { return -1 }

// WriteHash implements G.Op.
func (op *kernelOp) WriteHash(h hash.Hash) { fmt.Fprint(h, "trit ", op.name) }

// Hashcode implements G.Op.
func (op *kernelOp) Hashcode() uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
}

// String implements G.Op.
func (op *kernelOp) String() string { return op.name }

// DiffWRT implements G.SDOp.
func (op *kernelOp) DiffWRT(n int) []bool {
	d := make([]bool, n)
	for i := range min(n, len(op.grads)) {
		d[i] = op.grads[i].op != nil
	}
	return d
}

// SymDiff implements G.SDOp.
func (op *kernelOp) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	ds := make(G.Nodes, len(in))
	for i, r := range op.grads {
		if r.op == nil {
			continue
		}
		args := make(G.Nodes, len(r.from))
		for j, s := range r.from {
			switch s {
			case result:
				args[j] = out
			case gradient:
				args[j] = grad
			default:
				args[j] = in[s]
			}
		}
		d, err := r.op.apply(args...)
		if err != nil {
			return nil, err
		}
		ds[i] = d
	}
	return ds, nil
}

// DoDiff implements G.ADOp: it adds to the gradients that the operands carry.
func (op *kernelOp) DoDiff(_ G.ExecutionContext, in G.Nodes, out *G.Node) error {
	dy, err := out.Grad()
	if err != nil {
		return fmt.Errorf("gorgonia: %s: %w", op.name, err)
	}
	for i, r := range op.grads {
		if r.op == nil {
			continue
		}
		args := make([]G.Value, len(r.from))
		for j, s := range r.from {
			switch s {
			case result:
				args[j] = out.Value()
			case gradient:
				args[j] = dy
			default:
				args[j] = in[s].Value()
			}
		}
		d, err := r.op.Do(args...)
		if err != nil {
			return err
		}
		if err := accumulate(in[i], d); err != nil {
			return fmt.Errorf("gorgonia: %s: operand %d: %w", op.name, i, err)
		}
	}
	return nil
}

// accumulate adds d to the gradient of n, in place.
func accumulate(n *G.Node, d G.Value) error {
	old, err := n.Grad()
	if err != nil {
		return err
	}
	to, err := fromValue(old)
	if err != nil {
		return err
	}
	from, err := fromValue(d)
	if err != nil {
		return err
	}
	x, y := from.F32(), to.F32()
	if len(x) != len(y) {
		return fmt.Errorf("a gradient of %v for a value of %v", from.Dims, to.Dims)
	}
	for i, v := range x {
		y[i] += v
	}
	return nil
}

// function is the type of functions from some types to the last one.
func function(types ...hm.Type) func() hm.Type {
	return func() hm.Type { return hm.NewFnType(types...) }
}

// tensorType is the type of tensors with so many axes.
func tensorType(dims int, of hm.Type) hm.Type { return G.TensorType{Dims: dims, Of: of} }

var anyType = hm.TypeVariable('a')
