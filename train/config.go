package train

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/train/data"
)

// Config describes a run. It is saved with every checkpoint, except for what
// json leaves out.
//
// A field with a json tag is a setting: a key of the YAML file that package
// runfile reads and writes, and a flag of trit train. Its tags are all that is
// needed for both: help is its comment there, flag its short name, source the
// paper it is from. Its default stands in [Default], its limits in validate.
type Config struct {
	// Dir is the run folder, described in the package documentation.
	Dir string `json:"-"`
	// Device runs the steps; a resumed run's losses are the same bits on the
	// same device with as many threads.
	Device devices.Device `json:"-"`

	Data      data.Config `json:"data" help:"The texts."`
	Tokenizer Tokenizer   `json:"tokenizer" help:"Where the tokenizer comes from."`
	// JoinDocuments lets a document attend to the ones before it in a window.
	JoinDocuments bool `json:"join_documents" help:"Let a document attend to the ones before it in its window."`

	// Model is the architecture; Vocab, BOS and EOS follow from the tokenizer,
	// Context is at least Window. With From it is taken from there; if it is
	// zero it follows from Shape.
	Model checkpoint.Config `json:"-"`
	// Declare, if set, is the architecture instead of Model. Such a run has no
	// config.json, and to resume it Declare must be set again.
	Declare Declare `json:"-"`
	Shape   Shape   `json:"model" help:"The architecture; not used with from."`

	// From is a checkpoint with a tokenizer to start from: one with masters, or
	// one without quantization, which Convert makes a ternary model of. With LoRA
	// it stays as it is, and may hold ternary codes.
	From    string  `json:"from,omitempty" flag:"init" help:"Start from a checkpoint: with masters, or a full-precision Llama model, which becomes a ternary one." placeholder:"PATH"`
	Convert Convert `json:"convert" help:"How a full-precision checkpoint becomes a ternary model." source:"Wu et al. 2025, BitNet Distillation"`
	LoRA    LoRA    `json:"lora" help:"Low-rank adapters instead of the model's own weights." source:"Hu et al. 2022"`
	Distill Distill `json:"distill" help:"A teacher to learn from beside the texts." source:"Wu et al. 2025, BitNet Distillation"`
	Init    Init    `json:"init" help:"Random weights of a start from scratch."`

	Rows   int    `json:"rows" help:"Windows in a batch."`
	Window int    `json:"window" help:"Tokens in a window."`
	Steps  int    `json:"steps" help:"Steps in all."`
	Seed   uint64 `json:"seed" help:"Random seed of weights and data order."`

	Recipe

	// CheckFinite keeps a copy of the state before each step. When training
	// diverges, the step is repeated with a look at every value, the error names
	// the op and the layer that went wrong first, and the copy is saved.
	CheckFinite bool `json:"check_finite" flag:"check-finite" help:"Copy the state before each step; when training diverges, name the op and the layer that went wrong first, and save the copy."`
	// Explode ends a run as diverged when a loss exceeds this many times the mean
	// of recent ones and four times that of a uniform guess. 0 never does.
	Explode float64 `json:"explode" flag:"explode" help:"End the run as diverged when a loss exceeds this many times the mean of recent ones and four times a uniform guess's; 0: only when it is not finite."`

	// Validation runs after every ValidateEvery steps (0: never before the
	// end) and after the last, over at most ValidateWindows windows (0: all).
	ValidateEvery   int `json:"validate_every" help:"Steps between validations; 0: only at the end."`
	ValidateWindows int `json:"validate_windows" help:"Most windows of a validation; 0: all."`
	// StatsEvery is after how many steps the ternary codes are measured (0:
	// never); see WeightStats. A measurement reads all ternary weights twice.
	StatsEvery int `json:"stats_every" help:"Steps between measurements of the ternary codes (shares, flips, scale, dead zone); 0: never."`
	// TensorBoardEvery is after how many steps a point goes to TensorBoard's
	// files (0: none). metrics.csv has every step.
	TensorBoardEvery int `json:"tensorboard_every" help:"Steps between points in TensorBoard's files; 0: no files."`
	// A checkpoint is written before the first step, after every SaveEvery
	// steps (0: never), when a validation is the best so far, and at the end.
	// The newest Keep stay, and the KeepBest of lowest validation loss.
	SaveEvery int `json:"save_every" help:"Steps between checkpoints; 0: only at the end."`
	Keep      int `json:"keep" help:"Newest checkpoints to keep."`
	KeepBest  int `json:"keep_best" help:"Checkpoints of lowest validation loss to keep."`
	// SaveInline makes the steps wait until a checkpoint is on the disk. Without
	// it they go on while a copy of the state is written; if that takes longer
	// than SaveEvery steps, the next checkpoint is one of the first step after.
	SaveInline bool `json:"save_inline,omitempty" help:"Let the steps wait until a checkpoint is on the disk, instead of writing a copy beside them."`
	// ShardBytes is the most that the tensors of one file of a checkpoint take;
	// larger sets become several files with an index. 0: never.
	ShardBytes int64 `json:"shard_bytes" help:"Most bytes of tensors in one file of a checkpoint; larger sets become several files with an index. 0: no limit."`
}

// Recipe is what the compiled step depends on beside the declared model.
type Recipe struct {
	// Plain trains without quantization.
	Plain bool `json:"plain" help:"Train the unquantized twin."`
	// Precision is that of activations and their gradients, F32 or BF16; see
	// passes.Precision. A device without kernels for BF16 refuses it.
	Precision    string       `json:"precision" flag:"precision" help:"Of activations and their gradients: f32 or bf16, which devices without kernels for it refuse. Masters, gains, gradients of params and moments are f32 always." source:"Micikevicius et al. 2018"`
	Dropout      Dropout      `json:"dropout" help:"Activations that are set to zero at random." source:"Srivastava et al. 2014"`
	Quantization Quantization `json:"quantization" help:"Quantization-aware training."`
	Optimizer    Optimizer    `json:"optimizer" help:"AdamW." source:"Loshchilov and Hutter 2019"`
	Scale        Scale        `json:"scale" help:"Micro-batches, processes and memory."`
}

// The kinds of tokenizer.
const (
	Bytes = "bytes" // one token a byte
	BPE   = "bpe"   // learned from the training text
	File  = "file"  // loaded
)

// Tokenizer says where the run's tokenizer comes from.
type Tokenizer struct {
	Kind  string `json:"kind" flag:"tokenizer" help:"bytes, bpe (learned from the text) or file."`
	Vocab int    `json:"vocab,omitempty" flag:"vocab" help:"bpe: tokens in all."`
	Path  string `json:"path,omitempty" flag:"tokenizer-path" help:"file: a tokenizer.json or a folder with one." placeholder:"PATH"`
}

// Default is a configuration for small runs: BitNet's schedule, a BPE of 512
// tokens, 5 % held out. Dir, Device and Data.Path are left to set.
//
// The start was chosen on tiny Shakespeare with the preset nano, ternary: after
// 200 steps 2.75 bits per byte, against 3.3 with embeddings of 0.02 too, and
// 2.89 to 3.3 with matrices of 0.09 or 0.2.
func Default() Config {
	return Config{
		Data:      data.Config{Holdout: 0.05},
		Tokenizer: Tokenizer{Kind: BPE, Vocab: 512},
		Shape:     Shape{Preset: "nano"},
		Init:      Init{Std: 0.02, Residual: []string{".o_proj.weight", ".down_proj.weight"}},
		Rows:      8, Window: 128, Steps: 1000, Seed: 1,
		Recipe: Recipe{
			Precision:    F32,
			Dropout:      Dropout{After: []string{".o_proj.weight", ".down_proj.weight"}, Attention: true},
			Quantization: Quantization{Warmup: WarmupNone, WarmupSteps: 1000, Forward: ForwardAuto},
			Optimizer: Optimizer{
				Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Clip: 1,
				Schedule: Schedule{Kind: BitNet, Peak: 4e-3, Warmup: 50, Switch: 0.5, Decay: 0.1, Floor: 0.1},
			},
		},
		Explode:       3,
		Distill:       Distill{Temperature: 1, CrossEntropy: 1, Logits: 1, Layer: -1},
		ValidateEvery: 250, ValidateWindows: 128,
		StatsEvery: 100, TensorBoardEvery: 1,
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
	if c.Declare != nil && c.Quantization.model() != (Quantization{}) {
		bad("act_bits, group and norm belong to the model, which Declare declares: leave them out and declare it so")
	}
	switch c.Data.Format {
	case "", data.Text:
	case data.Chat:
		if c.From == "" && c.Tokenizer.Kind == BPE {
			bad("conversations do not teach a tokenizer: set from (--init), or a tokenizer of kind %q or %q", Bytes, File)
		}
		if c.JoinDocuments {
			bad("join_documents is for texts: a conversation never sees another one")
		}
	default:
		bad("data format %q, want %q or %q", c.Data.Format, data.Text, data.Chat)
	}
	c.validateConvert(bad)
	c.validateLoRA(bad)
	c.validateDistill(bad)
	if c.From != "" && c.Declare != nil {
		bad("From takes the architecture from a checkpoint, Declare gives another: set one")
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"rows", c.Rows, 1, 1 << 20}, {"window", c.Window, 2, 1 << 20}, {"steps", c.Steps, 1, 1 << 30},
		{"validate every", c.ValidateEvery, 0, 1 << 30}, {"validate windows", c.ValidateWindows, 0, 1 << 30},
		{"stats every", c.StatsEvery, 0, 1 << 30}, {"tensorboard every", c.TensorBoardEvery, 0, 1 << 30},
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
	if !(c.Explode == 0 || c.Explode > 1) {
		bad("explode is %v, want 0 or above 1", c.Explode)
	}
	c.Recipe.validate(bad)
	c.Scale.validate(c.Rows, bad)
	if c.Dropout.P > 0 && c.LoRA.Rank > 0 {
		bad("dropout of a run with adapters: what it drops belongs to layers that are not trained; leave it out")
	}
	if c.Device != nil {
		if err := c.Recipe.supported(c.Device); err != nil {
			bad("%w", err)
		}
	}
	return errors.Join(errs...)
}

// The precisions of activations and gradients.
const (
	F32  = "f32"
	BF16 = "bf16"
)

// supported reports whether a device can compute what the recipe asks for.
func (r *Recipe) supported(dev devices.Device) error {
	if r.Precision != BF16 || slices.ContainsFunc(dev.Kernels(), func(k devices.Kernel) bool { return k.BF16 }) {
		return nil
	}
	return fmt.Errorf("precision bf16: device %s has no kernels for bf16 activations and gradients, and training would not be what was asked for in f32: set precision to f32", dev.Name())
}

// refused explains an error of lowering where the precision is what lacks a kernel.
func (r *Recipe) refused(err error) error {
	if none := (*devices.NoKernelError)(nil); r.Precision == BF16 && errors.As(err, &none) {
		return fmt.Errorf("precision bf16: %w; set precision to f32", err)
	}
	return err
}

func (r *Recipe) validate(bad func(format string, args ...any)) {
	if r.Precision != "" && r.Precision != F32 && r.Precision != BF16 {
		bad("precision %q, want %q or %q", r.Precision, F32, BF16)
	}
	r.Quantization.validate(r.Plain, bad)
	r.Dropout.validate(bad)
	r.Optimizer.validate(bad)
}

// shape makes Model from Shape, if nothing else gives it.
func (c *Config) shape() (err error) {
	if c.From != "" || c.Declare != nil {
		return nil
	}
	if c.Model.Hidden == 0 {
		if c.Model, err = c.Shape.model(c.Window); err != nil {
			return fmt.Errorf("train: model: %w", err)
		}
	}
	c.Quantization.of(&c.Model)
	return nil
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
