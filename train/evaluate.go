package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/train/data"
)

// EvaluateOptions configure Evaluate. Zero fields take the run's settings.
type EvaluateOptions struct {
	Device  devices.Device
	Declare Declare // of a run with an architecture of its own
	Best    bool    // the best checkpoint instead of the newest
	Window  int
	Rows    int
	// Overlap is how many tokens of each window only serve as context; more
	// give each token a longer view and cost time.
	Overlap int
	// Windows limits the work; 0 takes all held-out text.
	Windows int
	// ScoreBatch, if set, sums the loss of a batch's targets in place of the
	// training form: that of an exported model, on the run's own windows.
	ScoreBatch func(ctx context.Context, b *data.Batch) (nats float64, err error)
	// Progress, if set, is called after each batch.
	Progress func(done, total int)
}

// Evaluate scores a run's weights on its held-out text, in training form; in f32
// where the device cannot compute in the run's precision.
func Evaluate(ctx context.Context, run string, o EvaluateOptions) (score Score, err error) {
	s, _, err := newest(run)
	if err != nil {
		return score, err
	}
	weights, err := Weights(run, o.Best)
	if err != nil {
		return score, err
	}
	fail := func(err error) (Score, error) { return Score{}, fmt.Errorf("train: evaluate: %w", err) }
	cfg := s.Config
	cfg.Declare = o.Declare
	switch {
	case o.Device == nil && o.ScoreBatch == nil:
		return fail(errors.New("no device is given"))
	case s.Custom && o.Declare == nil:
		return fail(fmt.Errorf("%s trains an architecture of its own: set Declare", run))
	}
	tok, err := tokenizer.Load(weights)
	if err != nil {
		return fail(err)
	}
	var base frozen
	if !s.Custom {
		from := weights
		if cfg.LoRA.Rank > 0 {
			from = cfg.From
		}
		m, err := checkpoint.Open(from, checkpoint.FullPrecision())
		if err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		cfg.Model, base = m.Config(), frozen{"": m}
		cfg.Model.Elem = graph.F32
	}
	window, rows := o.Window, o.Rows
	if window == 0 {
		window = cfg.Window
	}
	if rows == 0 {
		rows = cfg.Rows
	}
	if window < 2 || rows < 1 || o.Overlap < 0 || o.Overlap >= window {
		return fail(fmt.Errorf("%d rows of a window of %d with an overlap of %d", rows, window, o.Overlap))
	}
	sep, err := separator(tok)
	if err != nil {
		return score, err
	}
	texts, err := scan(ctx, cfg.Data)
	if err != nil {
		return fail(err)
	}
	tokens, err := texts.tokenize(ctx, cfg.Data, tok, sep, weights, run, nil)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, tokens.Close()) }()
	v, err := cfg.held(tokens, tok, sep, window, o.Overlap, o.Windows)
	if err != nil {
		return fail(err)
	}
	if o.ScoreBatch != nil {
		return o.score(ctx, v, data.NewBatch(rows, window))
	}
	loss, err := Loss(cfg.declare(), rows*window)
	if err != nil {
		return fail(err)
	}
	if loss, err = cfg.adapted(loss, base); err != nil {
		return fail(err)
	}
	if cfg.Recipe.supported(o.Device) != nil {
		cfg.Precision = F32
	}
	e, err := NewEvaluator(loss, cfg.Recipe, o.Device, rows*window)
	if err != nil {
		return score, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	params, err := readWeights(weights)
	if err != nil {
		return fail(err)
	}
	return e.Score(ctx, overlay{params, base}, v, data.NewBatch(rows, window), o.Progress)
}

// score sums what ScoreBatch says of the batches.
func (o *EvaluateOptions) score(ctx context.Context, v data.Held, b *data.Batch) (s Score, err error) {
	for i := range v.Batches(b.Rows) {
		v.Fill(i, b)
		nats, err := o.ScoreBatch(ctx, b)
		if err != nil {
			return Score{}, fmt.Errorf("train: evaluate: %w", err)
		}
		s.Nats, s.Count, s.Bytes = s.Nats+nats, s.Count+b.Counted, s.Bytes+b.Bytes
		if o.Progress != nil {
			o.Progress(i+1, v.Batches(b.Rows))
		}
	}
	return s, nil
}
