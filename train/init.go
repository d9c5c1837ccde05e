package train

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// Init says how weights start.
type Init struct {
	// Std is the standard deviation of matrices.
	Std float64 `json:"std"`
	// Residual lists name endings of the matrices that write into the residual
	// stream; their Std is divided by the root of their number, so that the
	// stream's variance does not grow with depth (Radford et al. 2019).
	Residual []string `json:"residual"`
}

// Weights draws a value for each param of g. Rank 1 params are norm weights and
// start at 1, except that a name that ends in ".bias" starts at 0. The values of
// one param depend on the seed, its name and its shape only.
func (c *Init) Weights(g *graph.Graph, seed uint64) (map[string]graph.Tensor, error) {
	residual := func(name string) bool {
		for _, end := range c.Residual {
			if strings.HasSuffix(name, end) {
				return true
			}
		}
		return false
	}
	writers := 0
	for _, p := range g.Params() {
		if residual(graph.SourceName(p)) {
			writers++
		}
	}
	weights := map[string]graph.Tensor{}
	for _, p := range g.Params() {
		name := graph.SourceName(p)
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		t := graph.NewTensor(graph.F32, dims...)
		vals := t.F32()
		switch {
		case strings.HasSuffix(name, ".bias"):
		case len(dims) < 2:
			for i := range vals {
				vals[i] = 1
			}
		default:
			std := c.Std
			if residual(name) {
				std /= math.Sqrt(float64(writers))
			}
			h := fnv.New64a()
			h.Write([]byte(name))
			rng := rand.New(rand.NewPCG(seed, h.Sum64()))
			for i := range vals {
				vals[i] = float32(std * rng.NormFloat64())
			}
		}
		weights[name] = t
	}
	return weights, nil
}
