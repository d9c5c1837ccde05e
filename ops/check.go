package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// Want is one operand's requirement in a type rule: element types that are
// allowed and the rank, -1 for any.
type Want struct {
	Name  string
	Elems []graph.DType
	Rank  int
}

// Floats are the element types that weights may have.
var Floats = []graph.DType{graph.F32, graph.BF16, graph.F16}

// F32 requires an f32 operand of the given rank.
func F32(name string, rank int) Want { return Want{name, []graph.DType{graph.F32}, rank} }

// I32 requires an i32 operand of the given rank.
func I32(name string, rank int) Want { return Want{name, []graph.DType{graph.I32}, rank} }

// Float requires a floating-point operand of the given rank.
func Float(name string, rank int) Want { return Want{name, Floats, rank} }

// Check compares operand types with what a type rule wants.
func Check(in []graph.Type, want ...Want) error {
	for i, w := range want {
		t := in[i]
		ok := false
		for _, e := range w.Elems {
			ok = ok || e == t.Elem
		}
		if !ok {
			return fmt.Errorf("%s is %s, want element type %v", w.Name, t, w.Elems)
		}
		if w.Rank >= 0 && t.Rank() != w.Rank {
			return fmt.Errorf("%s is %s, want rank %d", w.Name, t, w.Rank)
		}
	}
	return nil
}

// Same requires two types to have equal shapes.
func Same(aName string, a graph.Type, bName string, b graph.Type) error {
	if !a.Shape.Equal(b.Shape) {
		return fmt.Errorf("%s is %s but %s is %s; the shapes must be equal", aName, a, bName, b)
	}
	return nil
}

// EqualDim requires two extents to be the same.
func EqualDim(aName string, a graph.Dim, bName string, b graph.Dim) error {
	if a != b {
		return fmt.Errorf("%s has %s but %s has %s; they must be equal", aName, a, bName, b)
	}
	return nil
}

func one(t graph.Type) []graph.Type { return []graph.Type{t} }

// scalarF32 is the type f32[].
var scalarF32 = graph.T(graph.F32)
