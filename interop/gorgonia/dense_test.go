package gorgonia

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

func opSet() graph.OpSet {
	return graph.NewOpSet(ops.All()...).With(ternary.All()...).With(bitlinear.All()...)
}
