package neon_test

import (
	"context"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// strictBound is what the reference files demand of logits on inputs that stay
// clear of rounding ties.
const strictBound = 1e-4

// TestPublishedModels runs the reference models in both their forms, and holds
// the logits to the reference, and to the same bits with SDOT, without it and in
// plain Go, whatever the threads and the cut of the prompt.
func TestPublishedModels(t *testing.T) {
	for _, name := range []string{"pub_a_gqa2_tied_bf16", "pub_b_gqa4_odd_untied_bf16", "pub_c_mqa4_untied_f32", "pub_d_k256_tied_bf16"} {
		for _, form := range []string{"online", "offline"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				dir := golden.Path(t, name)
				ref, err := safetensors.Open(filepath.Join(dir, "golden.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				defer ref.Close()
				ids, err := ref.Tensor("strict.ids")
				if err != nil {
					t.Fatal(err)
				}
				want, err := ref.Tensor("strict.f64." + form + ".logits")
				if err != nil {
					t.Fatal(err)
				}
				m, err := checkpoint.Open(filepath.Join(dir, form))
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				var base []float32
				for _, o := range []neon.Options{{Threads: 1, Off: "-all", Portable: true}, {Threads: 2, Portable: true}, {Threads: 1, Off: "-dotprod", Portable: true}} {
					s := open(t, m, o)
					for _, cut := range []int{len(ids.I32()), 5} {
						got := logits(t, s, ids.I32(), cut)
						if base == nil {
							base = got
							diff := 0.0
							for i, v := range got {
								diff = max(diff, math.Abs(float64(v)-want.FloatAt(i)))
							}
							if len(got) != want.Len() || !(diff <= strictBound) {
								t.Errorf("%d logits of %d differ by %.3g", len(got), want.Len(), diff)
							}
							t.Logf("logits differ by %.3g", diff)
						}
						if !slices.Equal(got, base) {
							t.Errorf("options %+v, chunks of %d: other bits", o, cut)
						}
					}
				}
			})
		}
	}
}

// open compiles and loads a checkpoint.
func open(t *testing.T, m *checkpoint.Model, o neon.Options) *runtime.Session {
	t.Helper()
	d, err := neon.Device(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := bitnet158.NewWeights(m)
	g, err := bitnet158.Forward(m.Config(), 64)
	if err != nil {
		t.Fatal(err)
	}
	cache := passes.NewCache(1, 64, 8, graph.F32)
	infer, err := passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 64, Packed: w.Packed}).Run(g, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(infer, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	planned(t, p)
	if err := p.Load(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// planned demands that products run with the best instruction set that the
// device has, for one token and for many.
func planned(t *testing.T, p *runtime.Program) {
	t.Helper()
	isa := "generic"
	for _, f := range []devices.Feature{"neon", "dotprod"} {
		if p.Device().Has(f) {
			isa = string(f)
		}
	}
	for _, tokens := range []int{1, 20} {
		var plan strings.Builder
		if err := p.Explain(&plan, tokens, 1); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"fused.bitlinear", "fused.bitlinear_add"} {
			if !regexp.MustCompile(`(?m)^ +\d+  ` + name + `[23]?\.i2x16\.` + isa + " ").MatchString(plan.String()) {
				t.Errorf("%d tokens: no %s with %s in the plan:\n%s", tokens, name, isa, &plan)
			}
		}
	}
}

// logits feeds a prompt in pieces and returns the logits of all its tokens.
func logits(t *testing.T, s *runtime.Session, ids []int32, cut int) []float32 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := s.Open()
	must(err)
	var got []float32
	for i := 0; i < len(ids); i += cut {
		must(s.Feed(q, runtime.AllLogits, ids[i:min(len(ids), i+cut)]...))
		for more := true; more; {
			more, err = s.Step(context.Background())
			must(err)
			_, rows := s.Rows(q)
			got = append(got, rows...)
		}
	}
	must(s.End(q))
	return got
}
