package train_test

import (
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// benchEngine is the shape that other trainers are compared at: width 256, 4
// layers, 8 rows of 128 tokens; 3.0 M parameters with a vocabulary of 512.
func benchEngine(b *testing.B, dev devices.Device, vocab int, plain bool) (*train.Engine, *data.Batch) {
	cfg := checkpoint.Config{
		ModelType: "bitnet", Vocab: vocab, Hidden: 256, FFN: 688, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 64,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, Elem: graph.F32,
	}
	const rows, window = 8, 128
	loss, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, cfg, tok) }, rows*window)
	if err != nil {
		b.Fatal(err)
	}
	c := train.Default()
	c.Plain = plain
	e, err := train.NewEngine(loss, c.Recipe, dev, rows*window)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	weights, err := c.Init.Weights(loss, 1)
	if err != nil {
		b.Fatal(err)
	}
	if err := e.SetState(b.Context(), train.State{Weights: weights}); err != nil {
		b.Fatal(err)
	}
	batch := data.NewBatch(rows, window)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range batch.Tokens {
		batch.Tokens[i], batch.Targets[i] = int32(rng.IntN(vocab)), int32(rng.IntN(vocab))
		batch.Seq[i], batch.Pos[i] = int32(i/window), int32(i%window)
	}
	return e, batch
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name  string
		vocab int
		plain bool
	}{{"ternary-512", 512, false}, {"plain-512", 512, true}, {"ternary-8192", 8192, false}} {
		b.Run(c.name, func(b *testing.B) {
			e, batch := benchEngine(b, fast(b, 2), c.vocab, c.plain)
			for b.Loop() {
				if _, err := e.Step(b.Context(), batch, 1e-3, 0.1); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(batch.Tokens)*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
