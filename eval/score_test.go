package eval

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/models/embedded"
)

// model opens the embedded model for several sequences at once.
func model(t *testing.T, context, seqs int) (*engine.Model, *engine.Engine) {
	t.Helper()
	dev, _, err := auto.Open(auto.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	m, err := engine.OpenFS(embedded.Name, embedded.FS())
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Start(t.Context(), dev, engine.Shape{Context: context, Seqs: seqs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), m.Close(), dev.Close()); err != nil {
			t.Error(err)
		}
	})
	return m, e
}

const questions = `{"id": "a", "context": "func (b *Buffer) Write(p []byte) (n int, err", "choices": ["error)", "errors\n", "string) {", "é"], "gold": 0}
{"id": "b", "context": "\tif err != nil {\n\t\treturn ", "choices": ["nil, err", "err"], "gold": [0, 1]}
{"id": "c", "context": "\tif err != nil {\n\t\treturn ", "choices": ["zebra", "err"], "gold": 0}
{"id": "d", "context": "", "choices": ["package main", "goto out"], "gold": 1}
`

func read(t *testing.T, text string) []Item {
	t.Helper()
	items, err := Read("q.jsonl", strings.NewReader(text), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// byHand scores one choice from the logits of the whole text.
func byHand(t *testing.T, m *engine.Model, e *engine.Engine, c Choice) float64 {
	t.Helper()
	context := strings.TrimRight(c.Context, " \n\t")
	whole, err := m.TextIDs(c.Context + c.Continuation)
	if err != nil {
		t.Fatal(err)
	}
	begin, err := m.TextIDs("")
	if err != nil {
		t.Fatal(err)
	}
	from := len(begin)
	if context != "" {
		whole = whole[len(begin):] // this tokenizer puts nothing in front by itself
		from = len(m.Tokenizer.Encode(nil, context))
	}
	dev, _, err := auto.Open(auto.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	logits, _, err := m.Logits(t.Context(), dev, whole[:len(whole)-1], false)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i := from; i < len(whole); i++ {
		row := logits.F32()[(i-1)*m.Config.Vocab:][:m.Config.Vocab]
		z := 0.0
		for _, v := range row {
			z += math.Exp(float64(v))
		}
		sum += float64(row[whole[i]]) - math.Log(z)
	}
	return sum
}

// TestScore compares log-likelihoods with sums over the logits of each text by
// itself, and the measures with what follows from these.
func TestScore(t *testing.T) {
	m, e := model(t, 64, 5)
	items := read(t, questions)
	p, err := Prepare(m, items)
	if err != nil {
		t.Fatal(err)
	}
	results, err := p.Score(t.Context(), e, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, it := range items {
		for j, c := range it.Choices {
			if want, got := byHand(t, m, e, c), results[i].LogLikelihoods[j]; math.Abs(want-got) > 1e-3 {
				t.Errorf("%s: choice %d has %v, by hand %v", it.ID, j, got, want)
			}
		}
	}
	if r := results[0]; r.Acc != 1 || r.AccNorm != 1 || r.LogLikelihoods[3] > r.LogLikelihoods[0] {
		t.Errorf("the embedded model does not know Go: %+v", r)
	}
	if r := results[2]; r.Acc != 0 {
		t.Errorf("zebra is taken: %+v", r)
	}
	s := Summarize("q", results)
	if s.N != 4 || s.Chance != (0.25+1+0.5+0.5)/4 || s.Cut != 0 {
		t.Errorf("%+v", s)
	}
}

// TestMeasure: three choices, one each for sum, sum per character and per byte.
func TestMeasure(t *testing.T) {
	it := Item{ID: "x", Gold: []int{1}, Choices: []Choice{{Chars: 1, Bytes: 1}, {Chars: 5, Bytes: 5}, {Chars: 4, Bytes: 12}}}
	sums := []float64{-2, -5, -7} // per character -2, -1, -1.75; per byte -2, -1, -0.583
	want := Result{ID: "x", LogLikelihoods: sums, Gold: []int{1}, AccNorm: 1}
	if d := cmp.Diff(want, it.measure(sums)); d != "" {
		t.Error(d)
	}
	it.Gold = []int{0, 2}
	want = Result{ID: "x", LogLikelihoods: sums, Gold: it.Gold, Acc: 1, AccBytes: 1}
	if d := cmp.Diff(want, it.measure(sums)); d != "" {
		t.Error(d)
	}
	// 3 of 4 right: √(0.75·0.25·4/3 / 4) = 0.25.
	got := Summarize("t", []Result{{Acc: 1, LogLikelihoods: sums}, {Acc: 1, LogLikelihoods: sums}, {LogLikelihoods: sums}, {Acc: 1, LogLikelihoods: sums}})
	if got.Acc != (Mean{0.75, 0.25}) || got.AccNorm != (Mean{0, 0}) {
		t.Errorf("%+v", got)
	}
}

// TestRestart: a run that was killed goes on, and gives the file of one that was
// not; another model's file is refused.
func TestRestart(t *testing.T) {
	m, e := model(t, 64, 3)
	p, err := Prepare(m, read(t, questions))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	want, err := p.Score(t.Context(), e, whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 10, bytes.IndexByte(all, '\n'), bytes.IndexByte(all, '\n') + 1, len(all) / 2, len(all)} {
		name := filepath.Join(dir, "killed")
		if err := os.WriteFile(name, all[:at], 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := p.Score(t.Context(), e, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("killed at %d: %s", at, d)
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, all) {
			t.Errorf("killed at %d: the file holds %s, %v", at, now, err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	name := filepath.Join(dir, "stopped")
	_, err = p.Score(stopped, e, name, func(done, total int) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got, err := p.Score(t.Context(), e, name, nil); err != nil || !cmp.Equal(want, got) {
		t.Errorf("after a stop: %v", err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`[-`, `[-1`, "another model"},
		{`"id":"d"`, `"id":"e"`, "not among"},
		{`"gold":[0]`, `"gold":[1]`, "another question"},
		{`"log_likelihoods":[`, `"x":[`, "killed:1: not a line"},
	} {
		name := filepath.Join(dir, "killed")
		if err := os.WriteFile(name, bytes.ReplaceAll(all, []byte(c.from), []byte(c.to)), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Score(t.Context(), e, name, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.to, err)
		}
	}
}

// TestCut: a context that does not fit loses its beginning; a choice that does
// not is an error.
func TestCut(t *testing.T) {
	m, e := model(t, 8, 3)
	long := strings.Repeat("x := y; ", 20)
	p, err := Prepare(m, read(t, `{"context": "`+long+`return", "choices": ["err", "nil"], "gold": 0}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Longest() < 30 {
		t.Errorf("longest %d", p.Longest())
	}
	results, err := p.Score(t.Context(), e, "", nil)
	if err != nil || !results[0].Cut || Summarize("", results).Cut != 1 {
		t.Errorf("%+v %v", results, err)
	}
	p, err = Prepare(m, read(t, `{"context": "x", "choices": ["`+long+`", "nil"], "gold": 0}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Score(t.Context(), e, "", nil); err == nil || !strings.Contains(err.Error(), "q.jsonl:1: choice 0 has") {
		t.Errorf("error %v", err)
	}
}
