package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/runtime"
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
	// Progress, if set, is called after each batch.
	Progress func(done, total int)
}

// Evaluate scores a run's weights on its held-out text, in training form.
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
	case o.Device == nil:
		return fail(errors.New("no device is given"))
	case s.Custom && o.Declare == nil:
		return fail(fmt.Errorf("%s trains an architecture of its own: set Declare", run))
	}
	tok, err := tokenizer.Load(weights)
	if err != nil {
		return fail(err)
	}
	if !s.Custom {
		m, err := checkpoint.Open(weights)
		if err != nil {
			return fail(err)
		}
		cfg.Model = m.Config()
		if err := m.Close(); err != nil {
			return fail(err)
		}
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
	corpus, err := data.Scan(cfg.Data)
	if err != nil {
		return fail(err)
	}
	cache := cfg.Data.Cache
	if cache == "" {
		cache = filepath.Join(run, cacheDir)
	}
	tokens, err := corpus.Tokenize(ctx, tok, sep, cache, nil)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, tokens.Close()) }()
	loss, err := Loss(cfg.declare(), rows*window)
	if err != nil {
		return fail(err)
	}
	e, err := NewEvaluator(loss, cfg.Recipe, o.Device, rows*window)
	if err != nil {
		return score, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	params, err := readTensors(weights, weightsStem, nil)
	if err != nil {
		return fail(err)
	}
	layout := data.Layout{Separator: sep, Join: cfg.JoinDocuments, Lengths: lengths(tok)}
	v := data.NewValidation(&tokens.Valid, layout, window, o.Overlap, o.Windows)
	return e.Score(ctx, runtime.Tensors(params), v, data.NewBatch(rows, window), o.Progress)
}
