package gorgonia

import (
	"fmt"
	"path"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/passes"
)

// Choice says which products become BitLinears: those with a weight, the named
// param, for which it is true.
type Choice func(product *graph.Node, param string) bool

// Named chooses weights whose names match any of the patterns of [path.Match],
// such as "layer*.w". A bad pattern matches nothing.
func Named(patterns ...string) Choice {
	return func(_ *graph.Node, param string) bool {
		for _, p := range patterns {
			if ok, err := path.Match(p, param); ok && err == nil {
				return true
			}
		}
		return false
	}
}

// Ternarize turns the chosen products of an imported graph into BitLinears, which
// are trained with fake quantization and run as integer products with ternary
// weights. A weight may be the right or the left operand of its product. It is an
// error if nothing is chosen.
func Ternarize(g *graph.Graph, choose Choice) (*graph.Graph, error) {
	out, err := passes.Pipeline{passes.FoldTransposes(), passes.Ternarize(bitlinear.Default, choose)}.Run(g, nil)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: ternarize: %w", err)
	}
	for _, n := range out.Nodes {
		if n.Op == bitlinear.Op.OpDef {
			return out, nil
		}
	}
	var names []string
	for _, p := range g.Params() {
		names = append(names, graph.SourceName(p))
	}
	return nil, fmt.Errorf("gorgonia: ternarize: no product with a chosen weight; the params are %q", names)
}
