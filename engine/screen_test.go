package engine

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// screenedSession is a session of three sequences whose head is screened.
func screenedSession(t *testing.T, m *Model, dev devices.Device, screen passes.Screen) *runtime.Session {
	t.Helper()
	g, err := m.Declare(16)
	if err == nil {
		g, err = passes.Infer(passes.InferOptions{Cache: passes.NewCache(3, 96, 8, graph.F32), MaxRows: 16, Packed: m.Weights.Packed, Screen: screen}).Run(g, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := runtime.Compile(g, dev)
	if err == nil {
		err = p.Load(t.Context(), m.Weights)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	session, err := runtime.NewSession(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// TestScreenedHeadDrawsTheSameTokens generates with a whole head, a screened one, one
// that lists tokens and one that also draws them: greedily, from the k likeliest, and with what needs all logits. Devices without
// a kernel for screening run its body.
func TestScreenedHeadDrawsTheSameTokens(t *testing.T) {
	m := open(t, filepath.Join(golden.Path(t, published[0]), "offline"))
	onDevices(t, func(t *testing.T, dev devices.Device) {
		var sessions []*runtime.Session
		for _, s := range []passes.Screen{{}, {Tops: 3, Least: 1}, {Tops: 3, Least: 1, List: 20}, {Tops: 3, Least: 1, List: 20, Draw: true}} {
			sessions = append(sessions, screenedSession(t, m, dev, s))
		}
		for i, s := range sessions {
			if n := len(s.Run().Program().Outputs()); n != i+1 {
				t.Fatalf("program %d has %d outputs", i, n)
			}
		}
		for _, o := range []runtime.Sampling{{}, {Temperature: 1, TopK: 5, Seed: 3}, {Temperature: 2, TopK: 40, TopP: 0.9, Seed: 4},
			{Temperature: 1, Seed: 5}, {RepeatPenalty: 1.3}} {
			var drawn [4][]int32
			for i, s := range sessions {
				sampler, err := runtime.NewSampler(s.Vocab(), o)
				if err != nil {
					t.Fatal(err)
				}
				// A second sequence wants all logits in the same steps.
				other, err := s.Open()
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Feed(other, runtime.AllLogits, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17); err != nil {
					t.Fatal(err)
				}
				q, err := s.Open()
				if err != nil {
					t.Fatal(err)
				}
				for id, err := range s.Generate(context.Background(), q, []int32{3, 1, 4, 1, 5}, sampler) {
					if err != nil {
						t.Fatal(err)
					}
					if drawn[i] = append(drawn[i], id); len(drawn[i]) == 60 {
						break
					}
				}
				if err := s.End(q); err != nil {
					t.Fatal(err)
				}
				if err := s.End(other); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(drawn[0], drawn[1]) || !slices.Equal(drawn[0], drawn[2]) || !slices.Equal(drawn[0], drawn[3]) {
				t.Errorf("%+v: whole head %v, screened %v, listed %v, drawn %v", o, drawn[0], drawn[1], drawn[2], drawn[3])
			}
		}
		// Tokens that follow guesses are drawn in the step that runs these.
		guessing := sessions[len(sessions)-1]
		for _, o := range []runtime.Sampling{{}, {Temperature: 0.3, TopK: 3, Seed: 9}} {
			var texts [2][]int32
			for i, s := range []*runtime.Session{sessions[0], guessing} {
				if err := guessing.Speculate(runtime.Speculation{Tokens: 2, Always: true}); err != nil {
					t.Fatal(err)
				}
				sampler, err := runtime.NewSampler(s.Vocab(), o)
				if err != nil {
					t.Fatal(err)
				}
				q, err := s.Open()
				if err != nil {
					t.Fatal(err)
				}
				for id, err := range s.Generate(context.Background(), q, []int32{5, 9, 5, 9, 5, 9, 5, 9}, sampler) {
					if err != nil {
						t.Fatal(err)
					}
					if texts[i] = append(texts[i], id); len(texts[i]) == 60 {
						break
					}
				}
				if err := s.End(q); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(texts[0], texts[1]) {
				t.Errorf("%+v: %v with guesses, %v without", o, texts[1], texts[0])
			}
			if guessed, right := guessing.Guessed(); guessed == 0 {
				t.Errorf("%+v: nothing was guessed", o)
			} else {
				t.Logf("%+v: %d of %d guesses were drawn", o, right, guessed)
			}
		}
		if err := guessing.Speculate(runtime.Speculation{}); err != nil {
			t.Fatal(err)
		}
		// What a step draws is for one draw of one sampler. Others draw from its lists.
		var drawn [4][]int32
		for i, s := range sessions {
			q, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			var samplers []*runtime.Sampler
			for seed := range 4 {
				sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{Temperature: 3, TopK: 19, Seed: uint64(seed)})
				if err != nil {
					t.Fatal(err)
				}
				samplers = append(samplers, sampler)
			}
			err = s.Sample(q, samplers[1])
			if err == nil {
				err = s.Feed(q, samplers[1].Want(), 3, 1, 4)
			}
			if err == nil {
				_, err = s.Step(context.Background())
			}
			for range 5 {
				for _, sampler := range samplers {
					id, e := sampler.Draw(s, q)
					if err != nil || e != nil {
						t.Fatal(err, e)
					}
					drawn[i] = append(drawn[i], id)
				}
			}
			if err := s.End(q); err != nil {
				t.Fatal(err)
			}
		}
		for i := range drawn {
			if !slices.Equal(drawn[0], drawn[i]) {
				t.Errorf("four samplers draw %v from program %d, %v from the whole head", drawn[i], i, drawn[0])
			}
		}
	})
}
