package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/models/embedded"
	"github.com/trit-ml/trit/runtime"
)

// editing is a prompt that asks for a text that it holds already, nearly.
const editing = `// Before:
func (b *Buffer) WriteString(s string) (n int, err error) {
	b.lastRead = opInvalid
	m, ok := b.tryGrowByReslice(len(s))
	if !ok {
		m = b.grow(len(s))
	}
	return copy(b.buf[m:], s), nil
}
// After:
func (b *Buffer) WriteString(s string) (n int, err error) {
	b.lastRead`

var guessPrompts = []string{
	editing, "func (b *Buffer) Write(", "package http", "// Copyright", "type Reader struct {", "if err != nil {", "import (", "x := 1",
	"for i := range n {\n\tfor i := range n {\n\t\tfor i := range n {", "1, 2, 3, 4, 1, 2, 3, 4, 1, 2,", "aaaaaaaaaaaaaaaaaaaaaa", "zq ß 私 \x00 }{)(",
	"case 1:\n\treturn a1\ncase 2:\n\treturn a2\ncase 3:", "// Package x\n// Package x\n", "func a() {}\nfunc b() {}\nfunc c() {}\n", "return",
}

// TestGuessesChangeNothing draws answers to many prompts, greedily and not, alone
// and in a batch, with guesses always, where they pay, and never.
func TestGuessesChangeNothing(t *testing.T) {
	plain := startEmbedded(t, Shape{Context: 224})
	var jobs []Job
	for i, text := range guessPrompts {
		ids, err := plain.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Prompt: ids, MaxTokens: 72, Stops: plain.Model.Stops()}
		r.Sampling = []runtime.Sampling{{}, {Temperature: 0.6, TopK: 40, TopP: 0.95, Seed: uint64(i)}, {Temperature: 1, Seed: uint64(i)}, {Temperature: 0.5, RepeatPenalty: 1.1}}[i%4]
		jobs = append(jobs, Job{ID: fmt.Sprint(i), Request: r})
	}
	answer := func(e *Engine, r Request) (ids []int32) {
		t.Helper()
		if _, err := e.Generate(context.Background(), r, func(id int32) error { ids = append(ids, id); return nil }); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	want := map[string][]int32{}
	for _, j := range jobs {
		want[j.ID] = answer(plain, j.Request)
	}
	fast := startEmbedded(t, Shape{Context: 224, Seqs: 5, Guess: 9})
	for _, always := range []bool{true, false} {
		if err := fast.Session.Speculate(runtime.Speculation{Tokens: 9, Always: always}); err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if ids := answer(fast, j.Request); !slices.Equal(ids, want[j.ID]) {
				t.Errorf("always %v, job %s: %v, want %v", always, j.ID, ids, want[j.ID])
			}
		}
		queue := slices.Clone(jobs)
		err := fast.Batch(context.Background(), 5, func() (Job, bool, error) {
			if len(queue) == 0 {
				return Job{}, false, nil
			}
			j := queue[0]
			queue = queue[1:]
			return j, true, nil
		}, func(a Answer) error {
			if a.Err != nil || !slices.Equal(a.IDs, want[a.ID]) {
				t.Errorf("always %v, job %s in a batch: %v (%v), want %v", always, a.ID, a.IDs, a.Err, want[a.ID])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if run, right := fast.Session.Guessed(); always && (right < 100 || run == right) {
			t.Errorf("%d guesses, %d right: too few to test anything", run, right)
		}
	}
}

// TestConversationWithGuesses holds turns to those without.
func TestConversationWithGuesses(t *testing.T) {
	var talks [2][]string
	for i, guess := range []int{0, 6} {
		e := startEmbedded(t, Shape{Context: 256, Guess: guess})
		f, _, err := e.Model.ChatFormat()
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.Converse(f, "")
		if err != nil {
			t.Fatal(err)
		}
		if guess > 0 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if err := e.Session.Speculate(runtime.Speculation{Tokens: guess, Always: true}); err != nil {
				t.Fatal(err)
			}
			if c, err = e.Converse(f, ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"a := a + a", "again: a := a + a", "b"} {
			var b strings.Builder
			if _, err := c.Say(context.Background(), text, runtime.Sampling{}, 30, func(s string) error { b.WriteString(s); return nil }); err != nil {
				t.Fatal(err)
			}
			talks[i] = append(talks[i], b.String())
		}
	}
	if !slices.Equal(talks[0], talks[1]) {
		t.Errorf("with guesses %q, without %q", talks[1], talks[0])
	}
}

// BenchmarkGuess draws a text that repeats itself and one that does not, with and
// without guesses. The loss on the second is what it costs to find out.
func BenchmarkGuess(b *testing.B) {
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	m, err := OpenFS(embedded.Name, embedded.FS())
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for _, text := range []struct {
		name, prompt string
		sampling     runtime.Sampling
	}{
		{"editing", editing, runtime.Sampling{}},
		{"drawn", "func", runtime.Sampling{Temperature: 1}},
	} {
		for _, guess := range []int{0, 4, 8, 12} {
			b.Run(fmt.Sprintf("%s/guess=%d", text.name, guess), func(b *testing.B) {
				e, err := m.Start(context.Background(), dev, Shape{Guess: guess})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				ids, err := e.Encode(text.prompt)
				if err != nil {
					b.Fatal(err)
				}
				tokens, spent, guessed, right := 0, 0.0, 0, 0
				for seed := uint64(0); b.Loop(); seed++ {
					text.sampling.Seed = seed
					st, err := e.Generate(context.Background(), Request{Prompt: ids, MaxTokens: 128, Sampling: text.sampling}, func(int32) error { return nil })
					if err != nil {
						b.Fatal(err)
					}
					tokens, spent = tokens+st.Tokens-1, spent+st.Decode.Seconds()
					guessed, right = guessed+st.Guessed, right+st.Right
				}
				b.ReportMetric(float64(tokens)/spent, "tokens/s")
				b.ReportMetric(float64(right)/float64(max(guessed, 1)), "right")
				b.ReportMetric(float64(guessed)/float64(max(tokens, 1)), "guesses/token")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
