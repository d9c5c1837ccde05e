package gorgonia

import (
	"slices"

	G "gorgonia.org/gorgonia"
)

// rectified recognises x ⊙ (x >= 0), which G.Rectify makes, and returns x.
func (im *importer) rectified(n *G.Node, kids G.Nodes) *G.Node {
	if s, _ := binary(n.Op()); s != "⊙" {
		return nil
	}
	for i, gate := range kids {
		x := kids[1-i]
		if kind(gate) != "elemBinOp" {
			continue
		}
		if s, numbers := binary(gate.Op()); s != ">=" || !numbers {
			continue
		}
		in := im.children(gate)
		if in[0] == x && isZero(in[1]) {
			return x
		}
	}
	return nil
}

func isZero(n *G.Node) bool {
	if !isConstant(n) {
		return false
	}
	v, ok := n.Value().(*G.F32)
	return ok && *v == 0
}

// meanOf recognises Σ(x) ÷ (size ⊙ size …) with the sizes of just the axes that
// are summed, which G.Mean makes, and returns the sum.
func (im *importer) meanOf(n *G.Node, kids G.Nodes) *G.Node {
	if s, _ := binary(n.Op()); s != "÷" || kind(kids[0]) != "sumOp" {
		return nil
	}
	x := im.children(kids[0])[0]
	sizes, ok := im.sizesOf(kids[1], x)
	axes := integers(kids[0].Op())
	slices.Sort(sizes)
	slices.Sort(axes)
	if !ok || !slices.Equal(sizes, axes) {
		return nil
	}
	return kids[0]
}

// sizesOf lists the axes of x whose sizes n multiplies.
func (im *importer) sizesOf(n, x *G.Node) (axes []int, ok bool) {
	switch kind(n) {
	case "sizeOp":
		axis, err := field(n.Op(), "axis")
		return []int{axis}, err == nil && im.children(n)[0] == x
	case "elemBinOp":
		if s, _ := binary(n.Op()); s != "⊙" {
			return nil, false
		}
		kids := im.children(n)
		a, ok1 := im.sizesOf(kids[0], x)
		b, ok2 := im.sizesOf(kids[1], x)
		return append(a, b...), ok1 && ok2
	}
	return nil, false
}
