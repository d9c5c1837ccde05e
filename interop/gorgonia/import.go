package gorgonia

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// Option changes how a graph is imported.
type Option func(*importer)

// Name names the imported graph; the default is "gorgonia".
func Name(name string) Option { return func(im *importer) { im.name = name } }

// Inputs says that nodes are inputs although a value is bound to them. Without
// it, a node with a value becomes a param and one without becomes an input.
func Inputs(nodes ...*G.Node) Option {
	return func(im *importer) {
		for _, n := range nodes {
			im.isInput[n] = true
		}
	}
}

// Batch makes the first axis of the given inputs a symbol in min..max, such as
// the number of examples in a batch. Gorgonia's graph was built for one size;
// the imported graph serves every size. Choose a size for building it that no
// other extent equals or divides: sizes inside the graph, such as the shape of
// a reshape, are then recognised without doubt.
func Batch(sym string, min, max int, inputs ...*G.Node) Option {
	return func(im *importer) {
		im.sym = graph.Sym{Name: sym, Min: min, Max: max}
		for _, n := range inputs {
			im.isInput[n], im.isBatch[n] = true, true
		}
	}
}

// RefusedError says which node cannot be imported, and why.
type RefusedError struct {
	Path   string // names of the nodes from an output down to this one
	Op     string // the op's own name in Gorgonia
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("gorgonia: node %s: op %q: %s", e.Path, e.Op, e.Reason)
}

// Import turns the part of g that computes outs into a trit graph with these
// outputs, in their order. Leaves of g become inputs and params under their own
// names (see [Inputs]); the params are returned too, in Gorgonia's memory. The
// error is a *[RefusedError] for a node that has no counterpart.
//
// Import before G.Grad: gradients are trit's own.
func Import(g *G.ExprGraph, outs G.Nodes, options ...Option) (*graph.Graph, Params, error) {
	im := &importer{
		g: g, name: "gorgonia", params: Params{}, vals: map[*G.Node]graph.Value{},
		isInput: map[*G.Node]bool{}, isBatch: map[*G.Node]bool{}, used: map[string]*G.Node{},
	}
	for _, o := range options {
		o(im)
	}
	if g == nil || len(outs) == 0 {
		return nil, nil, errors.New("gorgonia: nothing to import: give the graph and its outputs")
	}
	im.b = graph.NewBuilder(im.name)
	if err := im.declareBatch(); err != nil {
		return nil, nil, err
	}
	results := make([]graph.Value, len(outs))
	for i, n := range outs {
		if n == nil || n.Graph() != g {
			return nil, nil, fmt.Errorf("gorgonia: output %d is not a node of the graph", i)
		}
		v, err := im.node(n)
		if err != nil {
			return nil, nil, err
		}
		results[i] = v
	}
	out, err := im.b.Finish(results...)
	if err != nil {
		return nil, nil, fmt.Errorf("gorgonia: import: %w", err)
	}
	return out, im.params, nil
}

// importer walks Gorgonia's graph from its outputs.
type importer struct {
	g       *G.ExprGraph
	name    string
	b       *graph.Builder
	sym     graph.Sym // of the batch, if named
	batch   int       // its size in Gorgonia's graph
	isInput map[*G.Node]bool
	isBatch map[*G.Node]bool

	params Params
	vals   map[*G.Node]graph.Value
	used   map[string]*G.Node // leaves by name
	path   []*G.Node
}

// declareBatch finds the size that the symbol stands for.
func (im *importer) declareBatch() error {
	for n := range im.isBatch {
		shape := n.Shape()
		if shape.Dims() == 0 {
			return fmt.Errorf("gorgonia: %s has no axis that could be the batch", n.Name())
		}
		if im.batch != 0 && im.batch != shape[0] {
			return fmt.Errorf("gorgonia: the batch is %d in one input and %d in %s", im.batch, shape[0], n.Name())
		}
		im.batch = shape[0]
	}
	if im.batch > 0 {
		if im.batch < im.sym.Min || im.batch > im.sym.Max {
			return fmt.Errorf("gorgonia: the graph is built for a batch of %d, outside %d..%d", im.batch, im.sym.Min, im.sym.Max)
		}
		im.b.Sym(im.sym.Name, im.sym.Min, im.sym.Max)
	}
	return im.b.Err()
}

// node returns the value of n, importing it on first use.
func (im *importer) node(n *G.Node) (graph.Value, error) {
	if v, ok := im.vals[n]; ok {
		return v, nil
	}
	im.path = append(im.path, n)
	defer func() { im.path = im.path[:len(im.path)-1] }()
	var v graph.Value
	var err error
	switch {
	case n.Op() == nil:
		v, err = im.leaf(n)
	case isConstant(n):
		v, err = im.constant(n)
	default:
		v, err = im.op(n)
	}
	if err == nil && im.b.Err() != nil {
		err = im.refuse("%v", im.b.Err())
	}
	if err == nil {
		err = im.sameShape(n, v)
	}
	if err != nil {
		return graph.Value{}, err
	}
	if n.Op() != nil && v.Hint() == "" {
		im.b.Name(v, n.Name()) // a name that the user gave; others are no words
	}
	im.vals[n] = v
	return v, nil
}

// sameShape holds what was imported to the shape that Gorgonia gave the node.
func (im *importer) sameShape(n *G.Node, v graph.Value) error {
	dims, err := v.Type().Shape.Eval(map[string]int{im.sym.Name: im.batch})
	if err != nil || !slices.Equal(dims, []int(n.Shape())) && len(dims)+len(n.Shape()) > 0 {
		return im.refuse("its shape %v cannot be represented: it would become %s", n.Shape(), v.Type())
	}
	return nil
}

// refuse is the error for the node being imported.
func (im *importer) refuse(format string, args ...any) error {
	n := im.path[len(im.path)-1]
	names := make([]string, len(im.path))
	for i, p := range im.path {
		names[i] = p.Name()
	}
	op := "leaf"
	if n.Op() != nil {
		op = n.Op().String()
	}
	return &RefusedError{strings.Join(names, " → "), op, fmt.Sprintf(format, args...)}
}

// children are the operands of n, in order.
func (im *importer) children(n *G.Node) G.Nodes {
	var out G.Nodes
	it := im.g.From(n.ID())
	for it != nil && it.Next() {
		out = append(out, it.Node().(*G.Node))
	}
	return out
}

// leaf declares an input or a param.
func (im *importer) leaf(n *G.Node) (graph.Value, error) {
	name := n.Name()
	if name == "" || strings.HasPrefix(name, "%!") {
		return graph.Value{}, im.refuse("the leaf has no name; give it one with G.WithName")
	}
	if strings.HasPrefix(name, constPrefix) {
		return graph.Value{}, im.refuse("names that begin with %q are taken; give the leaf another name", constPrefix)
	}
	if old := im.used[name]; old != nil {
		return graph.Value{}, im.refuse("another leaf has the same name and shape %v; give it another name", old.Shape())
	}
	im.used[name] = n
	e, err := leafElem(n)
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	shape := graph.Dims(n.Shape()...)
	if im.isInput[n] || n.Value() == nil {
		if im.isBatch[n] {
			shape[0] = graph.Dim{Sym: im.sym.Name, Mul: 1}
		}
		return im.b.Input(name, e, shape...), nil
	}
	if e != graph.F32 {
		return graph.Value{}, im.refuse("a weight of type %v cannot be represented: declare the node an input, with Inputs", n.Dtype())
	}
	t, err := fromValue(n.Value())
	if err != nil {
		return graph.Value{}, im.refuse("its value: %v", err)
	}
	if !slices.Equal(t.Dims, []int(n.Shape())) && len(t.Dims)+len(n.Shape()) > 0 {
		return graph.Value{}, im.refuse("its value has shape %v, the node %v", t.Dims, n.Shape())
	}
	im.params[name] = t
	return im.b.Param(name, graph.F32, t.Dims...), nil
}

// leafElem is the element type of an input.
func leafElem(n *G.Node) (graph.DType, error) {
	switch dt := n.Dtype(); dt {
	case tensor.Float32:
		return graph.F32, nil
	case tensor.Int, tensor.Int32:
		return graph.I32, nil
	default:
		return graph.InvalidDType, fmt.Errorf("element type %v cannot be represented; build the graph with float32", dt)
	}
}

// constPrefix begins the names of constants that are too large to be printed in
// the graph. They are params that are never trained.
const constPrefix = "constant/"

// constant declares the value of a constant node: small ones inside the graph,
// larger ones as params.
func (im *importer) constant(n *G.Node) (graph.Value, error) {
	t, err := fromValue(n.Value())
	if err == nil && t.Elem != graph.F32 {
		err = fmt.Errorf("a constant of type %v cannot be represented; use float32", n.Dtype())
	}
	if err != nil {
		return graph.Value{}, im.refuse("%v", err)
	}
	if t.Len() <= graph.MaxConstElements {
		return im.b.Const(t.Clone()), nil
	}
	name := fmt.Sprintf("%s%d", constPrefix, n.ID())
	im.params[name] = t
	return im.b.Param(name, graph.F32, t.Dims...), nil
}

// constOf is the value of a constant scalar.
func constOf(v graph.Value) (float32, bool) {
	t, ok := graph.ConstTensor(v.Node())
	if !ok || t.Elem != graph.F32 || t.Len() != 1 || len(t.Dims) != 0 {
		return 0, false
	}
	return t.F32()[0], true
}
