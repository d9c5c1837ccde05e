package avx_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices/avx"
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
// the logits to the reference, and to the same bits whatever the instruction
// set, the threads, the company in the batch and the cut of the prompt.
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
				for _, o := range []avx.Options{{Threads: 1}, {Threads: 2}, {Threads: 2, Off: "-avx512"}, {Threads: 1, Off: "-avx512,-avxvnni"}} {
					s := open(t, m, o)
					for _, cut := range []int{len(ids.I32()), 1, 5} {
						for _, company := range []bool{false, true} {
							got := logits(t, s, ids.I32(), cut, company)
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
								t.Errorf("options %+v, chunks of %d, company %v: other bits", o, cut, company)
							}
						}
					}
				}
			})
		}
	}
}

// open compiles and loads a checkpoint.
func open(t *testing.T, m *checkpoint.Model, o avx.Options) *runtime.Session {
	t.Helper()
	d, err := avx.Device(o)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := bitnet158.NewWeights(m)
	g, err := bitnet158.Forward(m.Config(), 64)
	if err != nil {
		t.Fatal(err)
	}
	cache := passes.NewCache(3, 64, 8, graph.F32)
	infer, err := passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 64, Packed: w.Packed}).Run(g, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(infer, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
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

// logits feeds a prompt in pieces and returns the logits of all its tokens. In
// company, two other sequences share the steps.
func logits(t *testing.T, s *runtime.Session, ids []int32, cut int, company bool) []float32 {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	begin := func() runtime.Seq {
		q, err := s.Open()
		must(err)
		return q
	}
	var others []runtime.Seq
	if company {
		others = append(others, begin(), begin())
		must(s.Feed(others[0], runtime.LastLogits, ids[3:7]...))
	}
	q := begin()
	var got []float32
	for i := 0; i < len(ids); i += cut {
		must(s.Feed(q, runtime.AllLogits, ids[i:min(len(ids), i+cut)]...))
		for _, o := range others {
			must(s.Feed(o, runtime.LastLogits, ids[i]))
		}
		for more := true; more; {
			var err error
			more, err = s.Step(context.Background())
			must(err)
			n, rows := s.Rows(q)
			if n*s.Vocab() != len(rows) {
				t.Fatal(fmt.Errorf("%d rows with %d logits", n, len(rows)))
			}
			got = append(got, rows...)
		}
	}
	must(s.End(q))
	for _, o := range others {
		must(s.End(o))
	}
	return got
}
