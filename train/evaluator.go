package train

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train/data"
)

// Score is the sum over validation targets.
type Score struct {
	Nats  float64 // negative log-likelihood
	Count int     // targets
	Bytes int     // of text that the targets stand for
}

// Loss is the mean in nats per token.
func (s Score) Loss() float64 { return s.Nats / float64(max(s.Count, 1)) }

// BitsPerByte is what it takes to code a byte of the text.
func (s Score) BitsPerByte() float64 { return bitsPerByte(s.Nats, s.Bytes) }

func bitsPerByte(nats float64, bytes int) float64 {
	return nats / math.Ln2 / float64(max(bytes, 1))
}

// Evaluator measures the loss of weights in training form: quantizers in
// floats, as the trainer sees them.
type Evaluator struct {
	prog  *runtime.Program
	in    inputs
	ranks Scale // which share the batches
}

// NewEvaluator compiles a loss (see [Loss]) without gradients, for batches of
// exactly tokens tokens.
func NewEvaluator(loss *graph.Graph, r Recipe, dev devices.Device, tokens int) (*Evaluator, error) {
	r.Quantization.Forward = r.Quantization.forwardOn(dev)
	g, err := evalGraph(loss, r)
	if err != nil {
		return nil, err
	}
	e := &Evaluator{}
	if e.prog, err = runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens)); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if e.in, err = findInputs(e.prog); err != nil {
		return nil, errors.Join(fmt.Errorf("train: %w", err), e.prog.Close())
	}
	return e, nil
}

// Close frees the memory.
func (e *Evaluator) Close() error { return e.prog.Close() }

// Score sums the loss of weights over a validation set. b is memory for the
// batches; progress may be nil.
func (e *Evaluator) Score(ctx context.Context, weights runtime.Source, v data.Held, b *data.Batch, progress func(done, total int)) (s Score, err error) {
	fail := func(err error) (Score, error) { return Score{}, fmt.Errorf("train: evaluate: %w", err) }
	if err := e.prog.Load(ctx, weights); err != nil {
		return fail(err)
	}
	run, err := e.prog.NewRun()
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	rank, size := e.ranks.ranks()
	sums := make([]float64, 3*v.Batches(b.Rows)) // nats, targets and bytes of each batch
	for i := range v.Batches(b.Rows) {
		if i%size != rank {
			continue
		}
		v.Fill(i, b)
		e.in.set(run, b)
		if err := run.Step(ctx); err != nil {
			return fail(err)
		}
		loss, err := scalar(ctx, run, 0)
		if err != nil {
			return fail(err)
		}
		sums[3*i], sums[3*i+1], sums[3*i+2] = loss*float64(b.Counted), float64(b.Counted), float64(b.Bytes)
		if progress != nil {
			progress(i+1, v.Batches(b.Rows))
		}
	}
	all, err := e.ranks.gather(sums)
	if err != nil {
		return fail(err)
	}
	// In the order of batches, so that the sum does not depend on the ranks.
	for i := range v.Batches(b.Rows) {
		x := all[i%size][3*i:]
		s.Nats += x[0]
		s.Count += int(x[1])
		s.Bytes += int(x[2])
	}
	return s, nil
}
