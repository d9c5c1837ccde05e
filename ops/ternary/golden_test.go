package ternary_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/ops/ternary"
)

func open(t *testing.T, elems ...string) func(name string) graph.Tensor {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, elems...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(name string) graph.Tensor {
		t.Helper()
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

func quantize(t *testing.T, w graph.Tensor) (codes graph.Tensor, gamma float32) {
	t.Helper()
	codes, g := graph.NewTensor(graph.Tern, w.Dims...), graph.NewTensor(graph.F32)
	if err := ternary.QuantizeOp.Run(ternary.AbsMean, []graph.Tensor{w}, []graph.Tensor{codes, g}); err != nil {
		t.Fatal(err)
	}
	return codes, g.F32()[0]
}

// TestGoldenQuantizer demands the reference's codes, scale and effective
// weights bit for bit, also for zeros, tiny weights, ties and equal weights.
func TestGoldenQuantizer(t *testing.T) {
	u := open(t, "units.safetensors")
	for _, name := range []string{"rand", "zeros", "tiny", "const", "halves", "one"} {
		w := u("wq." + name + ".w")
		codes, gamma := quantize(t, w)
		if diff := cmp.Diff(u("wq."+name+".codes").I8(), codes.I8()); diff != "" {
			t.Errorf("%s: codes: %s", name, diff)
		}
		if want := u("wq." + name + ".gamma").F32()[0]; gamma != want {
			t.Errorf("%s: gamma is %g, want %g", name, gamma, want)
		}
		fake := graph.NewTensor(graph.F32, w.Dims...)
		if err := ternary.FakeOp.Run(ternary.AbsMean, []graph.Tensor{w}, []graph.Tensor{fake}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u("wq."+name+".hf_fakequant").F32(), fake.F32()); diff != "" {
			t.Errorf("%s: effective weights: %s", name, diff)
		}
	}
}

// TestGoldenModelWeights quantizes the masters of the golden models and compares
// with the packed files: all codes are equal, and scales agree to the last bit
// or two of f32. The reference sums |w| in f32, blockwise and depending on its
// threads, so its last bit is not a definition; here the sum is in f64.
func TestGoldenModelWeights(t *testing.T) {
	models := []string{"pub_a_gqa2_tied_bf16", "pub_b_gqa4_odd_untied_bf16", "pub_c_mqa4_untied_f32", "pub_d_k256_tied_bf16"}
	for _, model := range models {
		online := open(t, model, "online", "model.safetensors")
		offline, err := safetensors.Open(golden.Path(t, model, "offline", "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer offline.Close()
		var matrices, equal, wrong, weights int
		var worst float64
		for _, info := range offline.Header.Tensors {
			scale, ok := strings.CutSuffix(info.Name, "_scale")
			if !ok {
				continue
			}
			codes, gamma := quantize(t, online(scale))
			packed, err := offline.Tensor(scale)
			if err != nil {
				t.Fatal(err)
			}
			want := unpack(packed.Data, codes.Dims[0], codes.Dims[1])
			weights += len(want)
			for i, c := range codes.I8() {
				if c != want[i] {
					wrong++
				}
			}
			g, err := offline.Tensor(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			matrices++
			if g.Elem == graph.BF16 {
				if graph.F32ToBF16(gamma) == g.U16()[0] {
					equal++
				} else {
					t.Errorf("%s %s: gamma is %#04x in bf16, want %#04x", model, scale, graph.F32ToBF16(gamma), g.U16()[0])
				}
				continue
			}
			ref := g.F32()[0]
			worst = max(worst, math.Abs(float64(gamma-ref))/float64(ref))
			if gamma == ref {
				equal++
			}
		}
		t.Logf("%s: %d of %d scales equal, worst off by %.2g; %d of %d codes differ", model, equal, matrices, worst, wrong, weights)
		if matrices == 0 || wrong > 0 || worst > 2.4e-7 {
			t.Errorf("%s: %d of %d codes differ, scales are off by %.2g (%d matrices)", model, wrong, weights, worst, matrices)
		}
	}
}

// unpack reads the reference's packing: byte [r,c] holds rows r, r+R, r+2R and
// r+3R, low bits first, as code+1.
func unpack(packed []byte, rows, cols int) []int8 {
	out := make([]int8, rows*cols)
	q := rows / 4
	for r := range rows {
		for c := range cols {
			out[r*cols+c] = int8(packed[r%q*cols+c]>>(2*(r/q))&3) - 1
		}
	}
	return out
}
