package avx_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

func device(tb testing.TB, o avx.Options) *host.Device {
	tb.Helper()
	d, err := avx.Device(o)
	if err != nil {
		tb.Skip(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

// trainer is a training step of a small model on random tokens, d 256, 4 layers,
// 8 sequences of 128 tokens, as one program with params and moments for states.
func trainer(tb testing.TB, o avx.Options, vocab int) *runtime.Run {
	tb.Helper()
	ctx := context.Background()
	cfg := bitnet158.Config{ModelType: "bitnet", Vocab: vocab, Hidden: 256, FFN: 688, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 64,
		Context: 128, Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32}
	b := graph.NewBuilder("loss")
	tok := layer.Inputs(b, trainRows*trainWidth)
	targets := b.Input("targets", graph.I32, tok.IDs.Dim(0))
	loss, err := b.Finish(ops.CrossEntropy(bitnet158.Declare(b, cfg, tok), targets))
	if err != nil {
		tb.Fatal(err)
	}
	g, err := passes.Train(passes.TrainOptions{AdamW: passes.AdamW{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1}}).Run(loss, nil)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := runtime.Compile(g, device(tb, o), runtime.Fix(layer.TokensSym, trainRows*trainWidth))
	if err != nil {
		tb.Fatal(err)
	}
	run, err := p.NewRun()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = run.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range loss.Params() {
		dims, err := s.Out[0].Shape.Eval(nil)
		if err != nil {
			tb.Fatal(err)
		}
		t := graph.NewTensor(graph.F32, dims...)
		for i := range t.F32() {
			if t.F32()[i] = 1; len(dims) == 2 {
				t.F32()[i] = 0.02 * float32(r.NormFloat64())
			}
		}
		if err := run.WriteState(ctx, graph.SourceName(s), t); err != nil {
			tb.Fatal(err)
		}
	}
	inputs := map[string][]int32{"tokens": nil, "targets": nil, "seq": nil, "pos": nil}
	for i := range trainRows * trainWidth {
		inputs["tokens"] = append(inputs["tokens"], int32(r.IntN(vocab)))
		inputs["targets"] = append(inputs["targets"], int32(r.IntN(vocab)))
		inputs["seq"], inputs["pos"] = append(inputs["seq"], int32(i/trainWidth)), append(inputs["pos"], int32(i%trainWidth))
	}
	for name, vals := range inputs {
		in, err := p.Input(name)
		if err != nil {
			tb.Fatal(err)
		}
		run.SetI32(in, vals)
	}
	in, err := p.Input(passes.HyperInput)
	if err != nil {
		tb.Fatal(err)
	}
	run.SetF32(in, []float32{1e-3, 0.1, 0.5, 0.5})
	return run
}

const trainRows, trainWidth = 8, 128

func BenchmarkTrainStep(b *testing.B) {
	for _, vocab := range []int{512, 8192} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("vocab=%d/threads=%d", vocab, threads), func(b *testing.B) {
				run := trainer(b, avx.Options{Threads: threads}, vocab)
				for b.Loop() {
					if err := run.Step(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*trainRows*trainWidth)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

// randomWeights draws what the infer pipeline asks for: codes, scales, norms and
// the embedding.
type randomWeights struct{ g *graph.Graph }

func (s randomWeights) Tensor(_ context.Context, name string) (graph.Tensor, error) {
	for _, p := range s.g.Params() {
		if graph.SourceName(p) != name {
			continue
		}
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			return graph.Tensor{}, err
		}
		t := graph.NewTensor(p.Out[0].Elem, dims...)
		r := rand.New(rand.NewPCG(uint64(len(name)), uint64(t.Len())))
		switch t.Elem {
		case graph.Tern:
			x := t.I8()
			for i := 0; i < len(x); i++ {
				for v := r.Uint64(); v > 0 && i < len(x); v >>= 2 {
					x[i] = int8(v&3)%3 - 1
					i++
				}
				i--
			}
		case graph.BF16:
			x := t.U16()
			for i := range x {
				x[i] = graph.F32ToBF16(float32(r.Int32()) * 1e-11)
			}
		case graph.F32:
			for i := range t.F32() {
				t.F32()[i] = 1
			}
		}
		return t, nil
	}
	return graph.Tensor{}, runtime.ErrMissing
}

// session runs the published 2B shape with random weights.
func session(tb testing.TB, threads, context_ int, cache graph.DType) *runtime.Session {
	tb.Helper()
	cfg, err := bitnet158.Preset("2b4t")
	if err != nil {
		tb.Fatal(err)
	}
	g, err := bitnet158.Forward(cfg, 512)
	if err != nil {
		tb.Fatal(err)
	}
	c := passes.NewCache(1, context_, 64, cache)
	infer, err := passes.Infer(passes.InferOptions{Cache: c, MaxRows: 1, Packed: func(string) bool { return true }}).Run(g, nil)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := runtime.Compile(infer, device(tb, avx.Options{Threads: threads}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	if err := p.Load(context.Background(), randomWeights{infer}); err != nil {
		tb.Fatal(err)
	}
	s, err := runtime.NewSession(p)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func step(tb testing.TB, s *runtime.Session, q runtime.Seq, tokens ...int32) {
	tb.Helper()
	if err := s.Feed(q, runtime.LastLogits, tokens...); err != nil {
		tb.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = s.Step(context.Background()); err != nil {
			tb.Fatal(err)
		}
	}
}

// Benchmark2B measures decoding near a depth and prompts of the 2B shape.
func Benchmark2B(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			s := session(b, threads, 2048, graph.F16)
			q, err := s.Open()
			if err != nil {
				b.Fatal(err)
			}
			for _, depth := range []int{0, 1024} {
				b.Run(fmt.Sprintf("decode/depth=%d", depth), func(b *testing.B) {
					step(b, s, q, make([]int32, depth+1)...)
					b.ResetTimer()
					for b.Loop() {
						step(b, s, q, 17)
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
					_ = s.Truncate(q, 0)
				})
			}
			for _, n := range []int{128, 512} {
				b.Run(fmt.Sprintf("prefill=%d", n), func(b *testing.B) {
					prompt := make([]int32, n)
					for b.Loop() {
						step(b, s, q, prompt...)
						_ = s.Truncate(q, 0)
					}
					b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "tokens/s")
				})
			}
		})
	}
}
