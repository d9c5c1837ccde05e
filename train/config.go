package train

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/train/data"
)

// Config describes a run. It is saved with every checkpoint, except for what
// json leaves out.
type Config struct {
	// Dir is the run folder, described in the package documentation.
	Dir string `json:"-"`
	// Device runs the steps; a resumed run's losses are the same bits on the
	// same device with as many threads.
	Device devices.Device `json:"-"`

	Data      data.Config `json:"data"`
	Tokenizer Tokenizer   `json:"tokenizer"`
	// JoinDocuments lets a document attend to the ones before it in a window.
	JoinDocuments bool `json:"join_documents"`

	// Model is the architecture; Vocab, BOS and EOS follow from the tokenizer,
	// Context is at least Window. With From it is taken from there.
	Model checkpoint.Config `json:"-"`
	// Declare, if set, is the architecture instead of Model. Such a run has no
	// config.json, and to resume it Declare must be set again.
	Declare Declare `json:"-"`
	// Plain trains without quantization.
	Plain bool `json:"plain"`

	// From is a checkpoint with masters and a tokenizer to start from.
	From string `json:"from,omitempty"`
	Init Init   `json:"init"`

	Rows   int    `json:"rows"`   // windows in a batch
	Window int    `json:"window"` // tokens in a window
	Steps  int    `json:"steps"`
	Seed   uint64 `json:"seed"`

	Optimizer Optimizer `json:"optimizer"`

	// Validation runs after every ValidateEvery steps (0: never before the
	// end) and after the last, over at most ValidateWindows windows (0: all).
	ValidateEvery   int `json:"validate_every"`
	ValidateWindows int `json:"validate_windows"`
	// A checkpoint is written before the first step, after every SaveEvery
	// steps (0: never), when a validation is the best so far, and at the end.
	// The newest Keep stay, and the KeepBest of lowest validation loss.
	SaveEvery int `json:"save_every"`
	Keep      int `json:"keep"`
	KeepBest  int `json:"keep_best"`
	// SaveInline makes the steps wait until a checkpoint is on the disk. Without
	// it they go on while a copy of the state is written; if that takes longer
	// than SaveEvery steps, the next checkpoint is one of the first step after.
	SaveInline bool `json:"save_inline,omitempty"`
	// ShardBytes is the most that the tensors of one file of a checkpoint take;
	// larger sets become several files with an index. 0: never.
	ShardBytes int64 `json:"shard_bytes"`
}

// The kinds of tokenizer.
const (
	Bytes = "bytes" // one token a byte
	BPE   = "bpe"   // learned from the training text
	File  = "file"  // loaded
)

// Tokenizer says where the run's tokenizer comes from.
type Tokenizer struct {
	Kind  string `json:"kind"`
	Vocab int    `json:"vocab,omitempty"` // BPE: tokens in all
	Path  string `json:"path,omitempty"`  // File
}

// Default is a configuration for small runs: BitNet's schedule, a BPE of 512
// tokens, 5 % held out. Dir, Device, Data.Path and Model are left to set.
//
// The start was chosen on tiny Shakespeare with the preset nano, ternary: after
// 200 steps 2.75 bits per byte, against 3.3 with embeddings of 0.02 too, and
// 2.89 to 3.3 with matrices of 0.09 or 0.2.
func Default() Config {
	return Config{
		Data:      data.Config{Holdout: 0.05},
		Tokenizer: Tokenizer{Kind: BPE, Vocab: 512},
		Init:      Init{Std: 0.02, Residual: []string{".o_proj.weight", ".down_proj.weight"}},
		Rows:      8, Window: 128, Steps: 1000, Seed: 1,
		Optimizer: Optimizer{
			Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Clip: 1,
			Schedule: Schedule{Kind: BitNet, Peak: 4e-3, Warmup: 50, SecondPeak: 2.5e-3, Switch: 0.5, Decay: 0.1, Floor: 0.1},
		},
		ValidateEvery: 250, ValidateWindows: 128,
		SaveEvery: 250, Keep: 2, KeepBest: 1, ShardBytes: 5e9,
	}
}

// validate reports everything that is wrong at once.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("train: "+format, args...)) }
	if c.Dir == "" {
		bad("no folder for the run is given")
	}
	if c.Device == nil {
		bad("no device is given")
	}
	if c.Data.Path == "" {
		bad("no training text is given")
	}
	switch c.Tokenizer.Kind {
	case Bytes, BPE, File:
	default:
		bad("tokenizer kind %q, want %q, %q or %q", c.Tokenizer.Kind, Bytes, BPE, File)
	}
	if c.From != "" && c.Declare != nil {
		bad("From takes the architecture from a checkpoint, Declare gives another: set one")
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"rows", c.Rows, 1, 1 << 20}, {"window", c.Window, 2, 1 << 20}, {"steps", c.Steps, 1, 1 << 30},
		{"validate every", c.ValidateEvery, 0, 1 << 30}, {"validate windows", c.ValidateWindows, 0, 1 << 30},
		{"save every", c.SaveEvery, 0, 1 << 30}, {"keep", c.Keep, 1, 1 << 20}, {"keep best", c.KeepBest, 0, 1 << 20},
	} {
		if f.v < f.lo || f.v > f.hi {
			bad("%s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	if c.ShardBytes < 0 {
		bad("shard bytes is %d, want at least 0", c.ShardBytes)
	}
	if !(c.Init.Std >= 0 && c.Init.Std < 10) || !(c.Init.Embedding >= 0 && c.Init.Embedding < 10) {
		bad("standard deviations of the start are %v and %v, want 0 to 10", c.Init.Std, c.Init.Embedding)
	}
	c.Optimizer.validate(bad)
	return errors.Join(errs...)
}

// declare is the architecture as a function.
func (c *Config) declare() Declare {
	if c.Declare != nil {
		return c.Declare
	}
	m := c.Model
	return func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, m, tok) }
}

// version names the build, for checkpoints: bit-exact resumption holds for the
// same program only.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}
