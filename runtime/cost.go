package runtime

import "github.com/trit-ml/trit/graph"

// Costs estimates the time of each node of the graph that p was compiled from,
// in nanoseconds, by its kernel's estimate; nodes without one get the bytes that
// they read and write, at ten a nanosecond. Nodes that do not run every step
// cost nothing.
func (p *Program) Costs(syms ...int) (func(*graph.Node) float64, error) {
	pl, err := p.plan(syms)
	if err != nil {
		return nil, err
	}
	costs := map[*graph.Node]float64{}
	for i := range pl.calls {
		c := &pl.calls[i]
		if c.kernel.Cost != nil {
			if ns := c.kernel.Cost(&c.call); ns > 0 {
				costs[c.step.n] = ns
				continue
			}
		}
		bytes := 0
		for _, o := range c.call.In {
			bytes += o.Bytes()
		}
		for _, o := range c.call.Out {
			bytes += o.Bytes()
		}
		costs[c.step.n] = float64(bytes) / 10
	}
	return func(n *graph.Node) float64 { return costs[n] }, nil
}
