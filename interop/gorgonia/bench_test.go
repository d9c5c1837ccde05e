package gorgonia

import (
	"fmt"
	"testing"

	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// BenchmarkMatMul compares engines on one product; MAC/s are multiply-adds.
func BenchmarkMatMul(b *testing.B) {
	e, err := NewEngine()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range [][3]int{{1, 2560, 2560}, {64, 2560, 2560}, {8, 8, 8}, {16, 16, 16}, {24, 24, 24}, {32, 32, 32}, {64, 64, 64}, {64, 512, 512}} {
		m, k, n := size[0], size[1], size[2]
		for _, eng := range []struct {
			name string
			e    tensor.Engine
		}{{"standard", tensor.StdEng{}}, {"trit", e}} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", m, k, n, eng.name), func(b *testing.B) {
				x, w := filled("x", m, k), filled("w", k, n)
				y := tensor.New(tensor.WithShape(m, n), tensor.Of(tensor.Float32))
				for _, t := range []*tensor.Dense{x, w, y} {
					tensor.WithEngine(eng.e)(t)
				}
				for b.Loop() {
					if _, err := tensor.MatMul(x, w, tensor.WithReuse(y)); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(m*k*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
	}
}

// BenchmarkBitLinear is one training step of a layer inside Gorgonia: its own
// product against BitLinear, which quantizes both operands besides.
func BenchmarkBitLinear(b *testing.B) {
	for _, l := range []struct {
		name   string
		linear func(x, w *G.Node) (*G.Node, error)
	}{{"Mul", G.Mul}, {"BitLinear", BitLinear}} {
		b.Run(l.name, func(b *testing.B) {
			g := G.NewGraph()
			x, w := weight(g, "x", 64, 512), weight(g, "w", 512, 512)
			if _, err := G.Grad(must(G.Sum(must(l.linear(x, w)))), x, w); err != nil {
				b.Fatal(err)
			}
			m := G.NewTapeMachine(g)
			defer m.Close()
			for b.Loop() {
				if err := m.RunAll(); err != nil {
					b.Fatal(err)
				}
				m.Reset()
			}
		})
	}
}
