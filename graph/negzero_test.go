package graph_test

import (
	"math"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// TestNegativeZeroIsPrinted keeps the sign of a zero attribute, which decides
// the sign of products.
func TestNegativeZeroIsPrinted(t *testing.T) {
	b := graph.NewBuilder("g")
	g, err := b.Finish(ops.Scale(b.Input("x", graph.F32, graph.C(2)), math.Copysign(0, -1)))
	if err != nil {
		t.Fatal(err)
	}
	back, err := graph.Parse(strings.NewReader(g.String()), allOps())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := ops.ScaleOp.Of(back.Outs[0].Node())
	if !math.Signbit(a.By) {
		t.Errorf("the sign was lost in\n%s", g)
	}
}
