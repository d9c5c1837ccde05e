package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
)

// ExportOptions say what Export writes.
type ExportOptions struct {
	// To is a form of checkpoint.Convert: "offline" (the default) is a Hugging
	// Face folder with packed ternary weights, "i2_s" and others are GGUF files.
	To string
	// Float is the element type of embedding and head: F32, the default, or F16
	// or BF16, which round them.
	Float graph.DType
	// Progress, if set, is called after each tensor.
	Progress func(done, total int)
}

// Export writes the model in from, a folder with masters, in a form for
// inference. See [Weights] for a run's best checkpoint; a run folder itself
// holds the newest.
func Export(ctx context.Context, from, to string, o ExportOptions) error {
	if o.To == "" {
		o.To = "offline"
	}
	m, err := checkpoint.Open(from)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer m.Close()
	out := m
	if o.Float != graph.InvalidDType && o.Float != m.Config().Elem {
		if out, err = rounded(m, o.Float); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	c := checkpoint.ConvertOptions{To: o.To, Rounding: true, Vocab: m.Vocab(), Files: map[string][]byte{}, Progress: o.Progress}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		if text, err := m.File(name); err == nil {
			c.Files[name] = text
		}
	}
	if c.Vocab == nil {
		if c.Vocab, err = ggufVocabulary(from); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	if err := checkpoint.Convert(ctx, out, to, c); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// rounded is m with its embedding and head as elem. The projections' masters
// stay, so that their codes and scales are those of training.
func rounded(m *checkpoint.Model, elem graph.DType) (*checkpoint.Model, error) {
	cfg := m.Config()
	cfg.Elem = elem
	var entries []checkpoint.Entry
	for _, s := range m.Specs() {
		t, err := m.Tensor(s.Name)
		if err != nil {
			return nil, err
		}
		e := checkpoint.Entry{Name: s.Name, Elem: t.Elem, Load: func() (graph.Tensor, error) { return m.Tensor(s.Name) }}
		if !s.Linear && len(s.Dims) == 2 {
			e.Elem = elem
			e.Load = func() (graph.Tensor, error) {
				t, err := m.Tensor(s.Name)
				if err != nil {
					return t, err
				}
				return checkpoint.Round(t, elem), nil
			}
		}
		entries = append(entries, e)
	}
	return checkpoint.New(cfg, entries)
}

// ggufVocabulary is the tokenizer of a folder in GGUF's terms, nil if it has none
// that trit reads.
func ggufVocabulary(dir string) (*checkpoint.Vocab, error) {
	tok, err := tokenizer.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := tok.Vocab()
	if err != nil {
		return nil, err
	}
	out := &checkpoint.Vocab{
		Model: v.Model, Pre: v.Pre, Tokens: v.Tokens, Scores: v.Scores, Merges: v.Merges,
		BOS: int(v.BOS), EOS: int(v.EOS), EOT: -1, Unknown: int(v.UNK), Pad: -1,
		AddBOS: v.AddBOS, AddEOS: v.AddEOS, AddSpacePrefix: v.AddSpacePrefix,
	}
	for _, k := range v.Types {
		out.Types = append(out.Types, int32(k))
	}
	return out, nil
}

// Weights returns the folder with the newest weights of a run, or with the best
// by validation among the checkpoints that are there.
func Weights(run string, best bool) (string, error) {
	s, _, err := newest(run)
	if err != nil {
		return "", err
	}
	if best {
		steps, err := listSteps(filepath.Join(run, checkpointsDir))
		if err != nil {
			return "", fmt.Errorf("train: %w", err)
		}
		if steps = bestSteps(run, steps); len(steps) > 0 && steps[0] != s.Step {
			if s, err = openSaved(filepath.Join(run, checkpointsDir, stepName(steps[0]))); err != nil {
				return "", fmt.Errorf("train: the best checkpoint: %w", err)
			}
		}
	}
	return filepath.Join(s.dir, modelDir), nil
}
