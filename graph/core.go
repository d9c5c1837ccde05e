package graph

import (
	"errors"
	"reflect"
)

// The ops every graph is made of. They have no operands; their type is part of
// the node and their value comes from outside.

// NameAttrs is the attribute of inputs, params and states.
type NameAttrs struct {
	Name string
}

// ConstAttrs holds a small constant's raw bytes.
type ConstAttrs struct {
	Data string
}

// source defines an op without operands. It bypasses Define, whose body parser
// refers to these ops.
func source[A comparable](name, doc string) Op[A] {
	t := reflect.TypeFor[A]()
	fields, err := attrFields(t)
	return Op[A]{&OpDef{Name: name, Doc: doc, Out: []string{"v"}, attrType: t, attrs: fields, err: err,
		infer: func(any, []Type) ([]Type, error) { return nil, errors.New("made by the builder only") }}}
}

var (
	// InputOp is a value given anew for every step, such as token ids.
	InputOp = source[NameAttrs]("input", "a value given for every step")
	// ParamOp is a named weight that a step does not change.
	ParamOp = source[NameAttrs]("param", "a named weight")
	// StateOp is a named value that lives across steps and is updated in place.
	StateOp = source[NameAttrs]("state", "a named value that lives across steps")
	// ConstOp is a small constant tensor.
	ConstOp = source[ConstAttrs]("const", "a small constant")
	// poison produces the results of a node that could not be made.
	poison = source[None]("poison", "the result of a mistake").OpDef
)

// MaxConstElements bounds constants, which are printed in full.
const MaxConstElements = 4096

// IsSource reports whether op is an input, param, state or constant.
func IsSource(op *OpDef) bool {
	return op == InputOp.OpDef || op == ParamOp.OpDef || op == StateOp.OpDef || op == ConstOp.OpDef
}

// SourceName returns the name of an input, param or state, and "" otherwise.
func SourceName(n *Node) string {
	if n == nil {
		return ""
	}
	a, _ := n.Attrs.(NameAttrs)
	return a.Name
}

// ConstTensor returns the value of a constant node.
func ConstTensor(n *Node) (Tensor, bool) {
	a, ok := ConstOp.Of(n)
	if !ok {
		return Tensor{}, false
	}
	dims, err := n.Out[0].Shape.Eval(nil)
	if err != nil {
		return Tensor{}, false
	}
	t, err := NewTensorFrom(n.Out[0].Elem, []byte(a.Data), dims...)
	return t, err == nil
}
