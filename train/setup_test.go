package train_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/llamatest"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

// What tests of whole runs share: texts and checkpoints to start from, small
// configurations, and what must be equal between two runs.

// texts writes a small corpus and returns its folder.
func texts(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 12 {
		var b strings.Builder
		fmt.Fprintf(&b, "package p%d\n\n", i)
		for j := range 20 {
			fmt.Fprintf(&b, "func f%d(x int) int {\n\treturn x + %d\n}\n\n", j, i*j)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.go", i)), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tiny is a run of a few seconds at most.
func tiny(dir, data string, dev devices.Device) train.Config {
	c := train.Default()
	c.Dir, c.Data.Path, c.Device = dir, data, dev
	c.Data.Holdout = 0.2
	c.Tokenizer = train.Tokenizer{Kind: train.Bytes}
	c.Model = checkpoint.Config{
		ModelType: "bitnet", Vocab: 1, Hidden: 32, FFN: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 16,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32,
	}
	c.Rows, c.Window, c.Steps = 2, 24, 12
	c.ValidateEvery, c.ValidateWindows, c.SaveEvery, c.Keep = 5, 4, 4, 2
	c.Optimizer.Schedule.Warmup = 2
	return c
}

// tensors reads a run folder's weights as transformers would.
func tensors(t *testing.T, dir string) map[string][]float32 {
	t.Helper()
	return floats(t, filepath.Join(dir, "model.safetensors"))
}

// adapters reads a run folder's adapters as PEFT would.
func adapters(t *testing.T, dir string) map[string][]float32 {
	t.Helper()
	return floats(t, filepath.Join(dir, "adapter_model.safetensors"))
}

func floats(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string][]float32{}
	for _, info := range f.Tensors {
		x, err := f.Tensor(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		m[info.Name] = append([]float32(nil), x.F32()...)
	}
	return m
}

// curve is what must be equal bit for bit between two runs.
type curve struct {
	Loss, Norm, LR map[int]float64
	Valid          map[int]train.Validated
}

func newCurve() curve {
	return curve{map[int]float64{}, map[int]float64{}, map[int]float64{}, map[int]train.Validated{}}
}

func (c curve) add(e train.Event) {
	switch e.Kind {
	case train.Stepped:
		c.Loss[e.Step], c.Norm[e.Step], c.LR[e.Step] = e.Loss, e.GradNorm, e.LR
	case train.Scored:
		c.Valid[e.Step] = e.Valid
	}
}

// follow runs t until it ends, or until cancel is called by then.
func follow(t *testing.T, tr *train.Trainer, err error, c curve, until int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = tr.Run(ctx, func(e train.Event) {
		c.add(e)
		if e.Kind == train.Warned {
			t.Error(e)
		}
		if e.Kind == train.Stepped && e.Step == until {
			cancel()
		}
	})
	if until > 0 && !errors.Is(err, context.Canceled) || until == 0 && err != nil {
		t.Fatalf("stopped at %d: %v", until, err)
	}
}

// llamaFolder writes a random Llama model without quantization, with a tokenizer
// of bytes, as transformers would.
func llamaFolder(t testing.TB, kv int, tied bool) string {
	t.Helper()
	dir := t.TempDir()
	llamatest.Model{Vocab: 258, Hidden: 32, FFN: 64, Layers: 2, Heads: 2, KVHeads: kv, Theta: 10000, Eps: 1e-6, Tied: tied, Std: 0.1, Seed: 3}.Write(t, dir)
	tok, err := tokenizer.NewBytes("<|end_of_text|>", "<|eot_id|>")
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// from is a run that begins with a checkpoint.
func from(t testing.TB, base string, dev devices.Device) train.Config {
	c := tiny(filepath.Join(t.TempDir(), "run"), texts(t), dev)
	c.From, c.Model = base, checkpoint.Config{}
	c.Optimizer.Schedule.Peak = 3e-3
	return c
}

func run(t *testing.T, c train.Config) curve {
	t.Helper()
	got := newCurve()
	tr, err := train.New(c)
	follow(t, tr, err, got, 0)
	return got
}

// chats writes conversations with an answer that can be learned.
func chats(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"%d?"},{"role":"assistant","content":"%s"}]}`+"\n", i, strings.Repeat("ab", 1+i%3))
	}
	path := filepath.Join(t.TempDir(), "chat.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// ternaryBase is a small ternary run to start from, and its packed form.
func ternaryBase(t *testing.T, dev devices.Device) (masters, packed string) {
	t.Helper()
	c := from(t, llamaFolder(t, 1, true), dev)
	c.Steps = 30
	run(t, c)
	packed = filepath.Join(t.TempDir(), "packed")
	if err := train.Export(t.Context(), c.Dir, packed, train.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	return c.Dir, packed
}

func tuning(t *testing.T, base, talks string, dev devices.Device) train.Config {
	c := from(t, base, dev)
	c.Data = data.Config{Path: talks, Format: data.Chat, Holdout: 0.2}
	c.Window, c.Steps = 64, 30
	return c
}

// mastersOf is a run folder with masters.
func mastersOf(t *testing.T, dev devices.Device) string {
	masters, _ := ternaryBase(t, dev)
	return masters
}

func declareModel(m checkpoint.Config) train.Declare {
	return func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, m, tok) }
}
