package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/embedded"
	"github.com/trit-ml/trit/runtime"
)

// startEmbedded runs the embedded model, which needs no reference files.
func startEmbedded(t *testing.T, s Shape) *Engine {
	t.Helper()
	dev, _, err := auto.Open(auto.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	m, err := OpenFS(embedded.Name, embedded.FS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return start(t, m, dev, s)
}

// TestBatchEqualsOneByOne checks that answers do not depend on what else runs,
// greedy or drawn, and that bad jobs are answered and stop nothing.
func TestBatchEqualsOneByOne(t *testing.T) {
	e := startEmbedded(t, Shape{Context: 96, Seqs: 5, Chunk: 24})
	var jobs []Job
	for i, text := range []string{"func (b *Buffer) Write(", "package http", "// Copyright", "type Reader struct {", "if err != nil {", "import (", "x := 1", "for i := range n {"} {
		ids, err := e.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		j := Job{ID: fmt.Sprint(i), Request: Request{Prompt: ids, MaxTokens: 10 + 5*i, Stops: e.Model.Stops()}}
		if i%2 == 1 {
			j.Sampling = runtime.Sampling{Temperature: 0.8, TopP: 0.9, Seed: uint64(i)}
		}
		jobs = append(jobs, j)
	}
	jobs[3].MaxTokens = 1000 // ends with the context
	want := map[string][]int32{}
	for _, j := range jobs {
		var ids []int32
		if _, err := e.Generate(context.Background(), j.Request, func(id int32) error { ids = append(ids, id); return nil }); err != nil {
			t.Fatal(err)
		}
		want[j.ID] = ids
	}
	bad := []Job{{ID: "empty"}, {ID: "range", Request: Request{Prompt: []int32{1 << 20}, MaxTokens: 1}}}
	queue := slices.Concat(jobs[:3], bad, jobs[3:])
	got := map[string]Answer{}
	err := e.Batch(context.Background(), 5, func() (Job, bool, error) {
		if len(queue) == 0 {
			return Job{}, false, nil
		}
		j := queue[0]
		queue = queue[1:]
		return j, true, nil
	}, func(a Answer) error { got[a.ID] = a; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for id, ids := range want {
		if a := got[id]; a.Err != nil || !slices.Equal(a.IDs, ids) {
			t.Errorf("job %s: %v (%v), alone %v", id, a.IDs, a.Err, ids)
		}
	}
	if got["3"].Stop != "context" || got["0"].Stop != "length" {
		t.Errorf("stops are %q and %q", got["3"].Stop, got["0"].Stop)
	}
	for _, j := range bad {
		if got[j.ID].Err == nil {
			t.Errorf("job %s was answered without an error", j.ID)
		}
	}
	if n := e.Session.FreeBlocks(); n != 5*3 {
		t.Errorf("%d cache blocks are free after the batch, want 15", n)
	}
}

// TestConversation checks that a turn that re-reads nothing gives the answer
// that the whole conversation from the start gives.
func TestConversation(t *testing.T) {
	e := startEmbedded(t, Shape{Context: 256, Seqs: 2})
	f, note, err := e.Model.ChatFormat()
	if err != nil || !strings.Contains(note, "no chat template") {
		t.Fatalf("%q, %v", note, err)
	}
	talk, err := e.Converse(f, "Write Go.")
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	quiet := func(string) error { return nil }
	for _, text := range []string{"func main() {", "more", "and more"} {
		if _, err := talk.Say(context.Background(), text, runtime.Sampling{}, 12, quiet); err != nil {
			t.Fatal(err)
		}
	}
	last := talk.Messages[len(talk.Messages)-1]
	if len(talk.Messages) != 7 || last.Role != "assistant" || last.Content == "" {
		t.Fatalf("%d messages, the last is %+v", len(talk.Messages), last)
	}
	if err := talk.Reset(); err != nil || len(talk.Messages) != 1 || talk.Messages[0].Role != "system" {
		t.Errorf("after a reset: %v, %v", talk.Messages, err)
	}
	first, err := f.Encode(context.Background(), []chat.Message{{Role: "system", Content: "Write Go."}, {Role: "user", Content: "func main() {"}})
	if err != nil {
		t.Fatal(err)
	}
	var alone []int32
	if _, err := e.Generate(context.Background(), Request{Prompt: first, MaxTokens: 12, Stops: f.Stops()}, func(id int32) error { alone = append(alone, id); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Say(context.Background(), "func main() {", runtime.Sampling{}, 12, quiet); err != nil {
		t.Fatal(err)
	}
	if got := talk.Messages[len(talk.Messages)-1].Content; got != e.Model.Tokenizer.Decode(alone) {
		t.Errorf("the first turn answers %q, the same prompt alone %q", got, e.Model.Tokenizer.Decode(alone))
	}
}
