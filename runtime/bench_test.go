package runtime_test

import (
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// big is the published model's graph after the infer pipeline, without weights.
func big(b *testing.B) *graph.Graph {
	cfg, err := bitnet158.Preset("2b4t")
	if err != nil {
		b.Fatal(err)
	}
	g, err := bitnet158.Forward(cfg, 512)
	if err == nil {
		g, err = passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, 4096, 32, graph.F16), MaxRows: 64, Packed: func(string) bool { return true }}).Run(g, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	return g
}

func BenchmarkCompile(b *testing.B) {
	g, dev := big(b), refDevice(b, 1)
	for b.Loop() {
		if _, err := runtime.Compile(g, dev); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlan measures what the first step of a new size costs beside binding.
func BenchmarkPlan(b *testing.B) {
	p, err := runtime.Compile(big(b), refDevice(b, 1))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := p.Memory(7, 1); err != nil {
			b.Fatal(err)
		}
	}
}
