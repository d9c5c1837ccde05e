package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/curves"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/record"
)

func lastLoss(run string) (step int, loss float64, err error) {
	d, err := record.ReadFile(filepath.Join(run, "metrics.csv"))
	if err != nil {
		return 0, 0, err
	}
	losses, ok := d.Numbers("loss")
	if !ok || len(losses) == 0 {
		return 0, 0, fmt.Errorf("%s has no losses", run)
	}
	last := len(losses) - 1
	return d.Steps[last], losses[last], nil
}

// TestWatching holds docs/watching.md to a run: every column and every panel is
// described, and nothing else.
func TestWatching(t *testing.T) {
	texts, run := t.TempDir(), filepath.Join(t.TempDir(), "run")
	for i := range 4 {
		text := strings.Repeat(fmt.Sprintf("line %d of a text\n", i), 20)
		if err := os.WriteFile(filepath.Join(texts, fmt.Sprintf("%d.txt", i)), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	dev := ref.Device(ref.Options{Threads: 1})
	defer dev.Close()
	c := train.Default()
	c.Dir, c.Data.Path, c.Data.Holdout, c.Device = run, texts, 0.3, dev
	c.Tokenizer = train.Tokenizer{Kind: train.Bytes}
	c.Model = checkpoint.Config{
		ModelType: "bitnet", Vocab: 1, Hidden: 16, FFN: 32, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 16,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32,
	}
	c.Rows, c.Window, c.Steps, c.StatsEvery = 1, 16, 3, 1
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var last train.Event
	if err := tr.Run(t.Context(), func(e train.Event) {
		if e.Kind == train.Stepped {
			last = e
		}
	}); err != nil {
		t.Fatal(err)
	}
	if step, loss, err := lastLoss(run); err != nil || step != 3 || loss != last.Loss {
		t.Errorf("step %d, loss %v, %v; want %v", step, loss, err, last.Loss)
	}
	doc, err := os.ReadFile("watching.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{record.StepColumn: true}
	for _, p := range curves.Panels() {
		known[p] = true
	}
	for _, name := range []string{"metrics.csv", "weights.csv"} {
		d, err := record.ReadFile(filepath.Join(run, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, col := range d.Columns {
			known[col] = true
		}
	}
	described := map[string]bool{record.StepColumn: true}
	for _, line := range strings.Split(string(doc), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		for i, name := range strings.Split(cells[1], "`") {
			if i%2 == 1 {
				if described[name] = true; !known[name] {
					t.Errorf("watching.md describes %q, which is neither a column nor a panel", name)
				}
			}
		}
	}
	for name := range known {
		if !described[name] {
			t.Errorf("watching.md does not describe %q", name)
		}
	}
}
