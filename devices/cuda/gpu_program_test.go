//go:build cuda

package cuda

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/runtime"
)

// TestProgram compiles a graph with the ordinary runtime, steps it with changing
// numbers of tokens, and compares with the portable device.
func TestProgram(t *testing.T) {
	g, weights := residuals(t), residualWeights(rand.New(rand.NewPCG(10, 10)))
	host := ref.Device(ref.Options{Threads: 1})
	defer host.Close()
	start := func(d devices.Device) *runtime.Run {
		p, err := runtime.Compile(g, d)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Load(t.Context(), weights); err != nil {
			t.Fatal(err)
		}
		r, err := p.NewRun()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		return r
	}
	gpu, cpu := start(openGPU(t)), start(host)
	step := func(r *runtime.Run, x []float32, s int) []byte {
		r.SetF32(0, x[:s*width])
		if err := r.Step(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		out, err := r.Output(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return out.Data
	}
	x := make([]float32, maxTokens*width)
	rng := rand.New(rand.NewPCG(11, 11))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	var first []byte
	for _, s := range []int{1, 2, 9, maxTokens, 1} {
		got, want := step(gpu, x, s), step(cpu, x, s)
		if first == nil {
			first = bytes.Clone(got)
		}
		if !bytes.Equal(got[:len(first)], first) {
			t.Errorf("S=%d: row 0 differs from row 0 alone", s)
		}
		var diff, norm float64
		a, _ := graph.NewTensorFrom(graph.F32, got, s, width)
		b, _ := graph.NewTensorFrom(graph.F32, want, s, width)
		for i, w := range b.F32() {
			diff += math.Pow(float64(a.F32()[i]-w), 2)
			norm += math.Pow(float64(w), 2)
		}
		t.Logf("S=%d: relative difference from the portable device %.2g", s, math.Sqrt(diff/norm))
		if !(diff <= 1e-6*norm) {
			t.Errorf("S=%d: relative difference from the portable device is %v", s, math.Sqrt(diff/norm))
		}
	}
	if n := testing.AllocsPerRun(20, func() { step(gpu, x, 1) }); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
	times, err := gpu.Profile(t.Context(), 1)
	if err != nil || len(times) != 4*layers {
		t.Errorf("profile: %d launches, %v", len(times), err)
	}
}
