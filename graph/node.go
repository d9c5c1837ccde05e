package graph

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Pos is a source position: the line of the user's code that made a node.
type Pos struct {
	File string
	Line int
}

// String prints "model.go:88" with the file's base name.
func (p Pos) String() string {
	if p.File == "" {
		return "?"
	}
	return filepath.Base(p.File) + ":" + strconv.Itoa(p.Line)
}

// Node is one application of an op. Nodes are immutable once their graph is
// finished; passes make new ones.
type Node struct {
	Op    *OpDef
	Attrs any // of the op's attribute type
	In    []Value
	Out   []Type
	Pos   []Pos  // where it comes from; several after fusion
	Scope string // dotted path, such as "layers.0.attn"

	names []string // printing hints, one per result
	owner *Builder
}

// Result returns the i-th result of n.
func (n *Node) Result(i int) Value {
	if i < 0 || i >= len(n.Out) {
		return Value{}
	}
	return Value{n, i}
}

// Results returns all results of n.
func (n *Node) Results() []Value {
	vs := make([]Value, len(n.Out))
	for i := range vs {
		vs[i] = Value{n, i}
	}
	return vs
}

// Where prints the node's first position and its scope, for error messages.
func (n *Node) Where() string {
	var parts []string
	if len(n.Pos) > 0 {
		parts = append(parts, n.Pos[0].String())
	}
	if n.Scope != "" {
		parts = append(parts, n.Scope)
	}
	return strings.Join(append(parts, n.Op.Name), ": ")
}

// Value is one result of a node, the handle that model code passes around.
// Values compare with ==. The zero Value is invalid.
type Value struct {
	node *Node
	res  int
}

// Valid reports whether v is a value at all; poisoned values are not.
func (v Value) Valid() bool { return v.node != nil && v.node.Op != poison }

// Node returns the node that produces v, nil for an invalid value.
func (v Value) Node() *Node { return v.node }

// Index is v's position among its node's results.
func (v Value) Index() int { return v.res }

// Type returns v's type; the zero Type for an invalid value.
func (v Value) Type() Type {
	if !v.Valid() {
		return Type{}
	}
	return v.node.Out[v.res]
}

// Dim returns extent i of v's shape; a negative i counts from the end. It is
// the constant 0 if there is none.
func (v Value) Dim(i int) Dim {
	s := v.Type().Shape
	if i < 0 {
		i += len(s)
	}
	if i < 0 || i >= len(s) {
		return Dim{}
	}
	return s[i]
}

// Builder returns the builder that owns v, or nil.
func (v Value) Builder() *Builder {
	if v.node == nil {
		return nil
	}
	return v.node.owner
}

// Op returns the op that produces v, nil for an invalid value.
func (v Value) Op() *OpDef {
	if v.node == nil {
		return nil
	}
	return v.node.Op
}

// Hint is the name v was given for printing; it need not be unique.
func (v Value) Hint() string {
	if v.node == nil || v.res >= len(v.node.names) {
		return ""
	}
	return v.node.names[v.res]
}

// String prints the hint or a description, for messages.
func (v Value) String() string {
	switch {
	case v.node == nil:
		return "<no value>"
	case v.node.Op == poison:
		return "<poisoned>"
	case v.Hint() != "":
		return "%" + v.Hint()
	}
	return v.node.Op.Name
}
