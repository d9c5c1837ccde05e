package engine

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// fenced is a device whose queues fill what is read when it is waited for, as those of
// devices with memory of their own do.
type fenced struct {
	devices.Device
	replays int
}

type fencedQueue struct {
	devices.Queue
	d     *fenced
	reads []fencedRead
}

type fencedRead struct{ dst, data []byte }

type fence struct {
	q     *fencedQueue
	reads int
}

type fencedSequence struct {
	devices.Sequence
	d *fenced
}

func (d *fenced) NewQueue() (devices.Queue, error) {
	q, err := d.Device.NewQueue()
	return &fencedQueue{Queue: q, d: d}, err
}

func (q *fencedQueue) Capture(ls []devices.Launch) (devices.Sequence, error) {
	s, err := q.Queue.Capture(ls)
	return fencedSequence{s, q.d}, err
}

func (s fencedSequence) Replay() error {
	s.d.replays++
	return s.Sequence.Replay()
}

func (q *fencedQueue) Read(dst []byte, src devices.Buffer, off int) error {
	data := make([]byte, len(dst))
	q.reads = append(q.reads, fencedRead{dst, data})
	return q.Queue.Read(data, src, off)
}

func (q *fencedQueue) fill(n int) {
	for _, r := range q.reads[:n] {
		copy(r.dst, r.data)
	}
	q.reads = q.reads[n:]
}

func (q *fencedQueue) Sync(ctx context.Context) error {
	q.fill(len(q.reads))
	return q.Queue.Sync(ctx)
}

func (q *fencedQueue) NewFence() (devices.Fence, error) { return &fence{q: q}, nil }

func (f *fence) Set() error {
	f.reads = len(f.q.reads)
	return nil
}

func (f *fence) Wait(ctx context.Context) error {
	f.q.fill(f.reads)
	return ctx.Err()
}

func (f *fence) Free() error { return nil }

// unfenced is a device whose queues have no fences.
type unfenced struct{ devices.Device }

func (d unfenced) NewQueue() (devices.Queue, error) {
	q, err := d.Device.NewQueue()
	return struct{ devices.Queue }{q}, err
}

// TestStepsQueuedAhead generates on a device that can wait for one step while the next is
// under way, with everything that can come between, and compares with the same on one
// that cannot.
func TestStepsQueuedAhead(t *testing.T) {
	m := open(t, filepath.Join(golden.Path(t, published[0]), "offline"))
	onDevices(t, func(t *testing.T, dev devices.Device) {
		ahead := &fenced{Device: dev}
		with := []devices.Device{unfenced{dev}, ahead}
		q, err := dev.NewQueue()
		if err != nil {
			t.Fatal(err)
		}
		_, own := q.(devices.Fencer)
		if own {
			with[1] = dev
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		var sessions []*runtime.Session
		for _, d := range with {
			sessions = append(sessions, screenedSession(t, m, d, passes.Screen{Tops: 3, Least: 1, List: 20, Draw: true}))
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		type result struct {
			texts  [][]int32
			ids    []int32
			logits []float32
			free   int
		}
		for _, guess := range []int{0, 2} {
			for _, o := range []runtime.Sampling{{}, {Temperature: 1.5, TopK: 15, Seed: 3}} {
				var results []result
				for _, s := range sessions {
					var r result
					must(s.Speculate(runtime.Speculation{Tokens: guess, Always: true}))
					draw := func(q runtime.Seq, sampler *runtime.Sampler, n int, prompt ...int32) {
						t.Helper()
						var text []int32
						for id, err := range s.Generate(t.Context(), q, prompt, sampler) {
							must(err)
							if text = append(text, id); len(text) == n {
								break
							}
						}
						r.texts = append(r.texts, text)
					}
					sampler := func() *runtime.Sampler {
						s, err := runtime.NewSampler(s.Vocab(), o)
						must(err)
						return s
					}
					q, err := s.Open()
					must(err)
					one := sampler()
					draw(q, one, 20, 3, 1, 4, 1, 5)
					ids, logits := s.Likeliest(q) // of a step behind which another one is under way
					r.ids, r.logits = slices.Clone(ids), slices.Clone(logits)
					draw(q, one, 11, 7) // not what was drawn
					f, err := s.Fork(q)
					must(err)
					draw(q, one, 9, r.texts[1][10])
					draw(f, sampler(), 12, 8, 9)
					must(s.Truncate(q, 14))
					draw(q, sampler(), 10, 2)
					must(s.End(f))
					f, err = s.Open()
					must(err)
					must(s.Feed(f, runtime.NoLogits, 9, 8, 7, 6, 5, 4, 3, 2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1)) // in the same steps
					draw(q, sampler(), 100, 2)                                                              // to the end of the context
					must(s.End(q))
					draw(f, sampler(), 8, 1)
					must(s.End(f))
					r.free = s.FreeBlocks()
					results = append(results, r)
				}
				a, b := results[0], results[1]
				for i := range a.texts {
					if !slices.Equal(a.texts[i], b.texts[i]) {
						t.Errorf("guess %d, %+v, text %d: %v, ahead %v", guess, o, i, a.texts[i], b.texts[i])
					}
				}
				if !slices.Equal(a.ids, b.ids) || !slices.Equal(a.logits, b.logits) || a.free != b.free {
					t.Errorf("guess %d, %+v: the likeliest are %v, ahead %v; %d blocks are free, ahead %d", guess, o, a.ids, b.ids, a.free, b.free)
				}
			}
		}
		if own {
			return
		}
		// A step that was queued ahead and not wanted is one more.
		s, tokens := sessions[1], 30
		before := ahead.replays
		must(s.Speculate(runtime.Speculation{}))
		f, err := s.Open()
		must(err)
		sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{})
		must(err)
		n := 0
		for _, err := range s.Generate(t.Context(), f, []int32{1, 2}, sampler) {
			must(err)
			if n++; n == tokens {
				break
			}
		}
		if got := ahead.replays - before; got != tokens+1 {
			t.Errorf("%d tokens took %d steps, want %d", tokens, got, tokens+1)
		}
	})
}
