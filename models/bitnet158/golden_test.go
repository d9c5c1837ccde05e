package bitnet158_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// strictBound is what the reference files demand of logits on inputs that stay
// clear of rounding ties.
const strictBound = 1e-4

var published = []string{"pub_a_gqa2_tied_bf16", "pub_b_gqa4_odd_untied_bf16", "pub_c_mqa4_untied_f32", "pub_d_k256_tied_bf16"}

// params evaluates nothing: it collects every param of g from the checkpoint,
// widened to the declared type.
func params(t *testing.T, g *graph.Graph, w bitnet158.Weights) map[string]graph.Tensor {
	t.Helper()
	m := map[string]graph.Tensor{}
	for _, p := range g.Params() {
		x, err := w.Tensor(context.Background(), graph.SourceName(p))
		if err != nil {
			t.Fatal(err)
		}
		if p.Out[0].Elem == graph.F32 {
			if x, err = x.ToF32(); err != nil {
				t.Fatal(err)
			}
		}
		m[graph.SourceName(p)] = x
	}
	return m
}

func step(ids []int32) map[string]graph.Tensor {
	seq, pos := make([]int32, len(ids)), make([]int32, len(ids))
	for i := range ids {
		pos[i] = int32(i)
	}
	return map[string]graph.Tensor{"tokens": graph.FromI32(ids, len(ids)), "seq": graph.FromI32(seq, len(ids)), "pos": graph.FromI32(pos, len(ids))}
}

func maxDiff(t *testing.T, got, want graph.Tensor) float64 {
	t.Helper()
	if got.Len() != want.Len() || got.Len() == 0 {
		t.Fatalf("got %v elements, want %v", got.Dims, want.Dims)
	}
	var most float64
	for i := range got.Len() {
		most = max(most, math.Abs(got.FloatAt(i)-want.FloatAt(i)))
	}
	return most
}

// TestInterpreterOnPublishedModels runs every reference model through the
// interpreter, as declared and after the infer pipeline.
func TestInterpreterOnPublishedModels(t *testing.T) {
	for _, name := range published {
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
		for _, form := range []string{"online", "offline"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				m, err := checkpoint.Open(filepath.Join(dir, form))
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				want, err := ref.Tensor("strict.f64." + form + ".logits")
				if err != nil {
					t.Fatal(err)
				}
				w := bitnet158.NewWeights(m)
				declared, err := bitnet158.Forward(m.Config(), 64)
				if err != nil {
					t.Fatal(err)
				}
				env := graph.Env{Inputs: step(ids.I32())}
				if form == "online" {
					env.Params = params(t, declared, w)
					res, err := graph.Eval(declared, env)
					if err != nil {
						t.Fatal(err)
					}
					if d := maxDiff(t, res.Outs[0], want); d > strictBound {
						t.Errorf("declared form: logits differ by %.3g", d)
					}
				}
				cache := passes.Cache{Seqs: 2, Blocks: 8, PerSeq: 8, Size: 4, Elem: graph.F32}
				infer, err := passes.Infer(passes.InferOptions{Cache: cache, MaxRows: 8, Packed: w.Packed}).Run(declared, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := graph.Verify(infer, graph.Inferring); err != nil {
					t.Fatal(err)
				}
				env.Params = params(t, infer, w)
				rows := make([]int32, len(ids.I32()))
				table := make([]int32, 16)
				for i := range rows {
					rows[i] = int32(i)
				}
				for i := range table {
					table[i] = int32(7 - i%8)
				}
				env.Inputs["rows"] = graph.FromI32(rows, len(rows))
				env.Inputs["table"] = graph.FromI32(table, 2, 8)
				res, err := graph.Eval(infer, env)
				if err != nil {
					t.Fatal(err)
				}
				if d := maxDiff(t, res.Outs[0], want); d > strictBound {
					t.Errorf("inference form: logits differ by %.3g", d)
				} else {
					t.Logf("logits differ by %.3g", d)
				}
			})
		}
	}
}
