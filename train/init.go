package train

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// Init says how weights start.
type Init struct {
	// Std is the standard deviation of matrices; 0 means 1/√(their columns),
	// which keeps the scale of what they are applied to.
	Std float64 `json:"std" help:"Standard deviation of matrices; 0: 1/√columns."`
	// Embedding is that of tables that tokens are looked up in; 0 likewise.
	Embedding float64 `json:"embedding" help:"Standard deviation of embeddings; 0: 1/√columns."`
	// Residual lists name endings of the matrices that write into the residual
	// stream; their Std is divided by the root of their number, so that the
	// stream's variance does not grow with depth (Radford et al. 2019).
	Residual []string `json:"residual" help:"Name endings of matrices that write into the residual stream: their deviation is divided by the root of their number." source:"Radford et al. 2019"`
}

// Weights draws a value for each param of g. Rank 1 params are norm weights and
// start at 1, except that a name that ends in ".bias" starts at 0. The values of
// one param depend on the seed, its name and its shape only.
func (c *Init) Weights(g *graph.Graph, seed uint64) (map[string]graph.Tensor, error) {
	residual := func(name string) bool { return endsInOneOf(name, c.Residual) }
	writers := 0
	for _, p := range g.Params() {
		if residual(graph.SourceName(p)) {
			writers++
		}
	}
	uses := g.Uses()
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
			if lookedUp(uses[p.Result(0)]) {
				std = c.Embedding
			}
			if std == 0 {
				std = 1 / math.Sqrt(float64(dims[len(dims)-1]))
			}
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

// complete draws the weights that are missing.
func (c *Init) complete(weights map[string]graph.Tensor, g *graph.Graph, seed uint64) error {
	drawn, err := c.Weights(g, seed)
	if err != nil {
		return err
	}
	for name, t := range drawn {
		if _, ok := weights[name]; !ok {
			weights[name] = t
		}
	}
	return nil
}

func endsInOneOf(name string, ends []string) bool {
	return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(name, end) })
}

// lookedUp reports whether one of the nodes that read a param is an embedding.
func lookedUp(readers []*graph.Node) bool {
	return slices.ContainsFunc(readers, func(n *graph.Node) bool { return n.Op == ops.EmbeddingOp.OpDef })
}
