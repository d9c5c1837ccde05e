package engine

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/internal/golden"
)

// byHand sums log softmax over golden logits [n,V] for the tokens from on.
func byHand(logits func(i int) float64, vocab int, tokens []int32, from int) float64 {
	sum := 0.0
	for i := from; i < len(tokens); i++ {
		z := 0.0
		for v := range vocab {
			z += math.Exp(logits((i-1)*vocab + v))
		}
		sum += logits((i-1)*vocab+int(tokens[i])) - math.Log(z)
	}
	return sum
}

// TestLogLikelihoodsGolden compares with sums made from the references' float64
// logits, however many sequences run at once.
func TestLogLikelihoodsGolden(t *testing.T) {
	for _, name := range published {
		ref := reference(t, name)
		ids, logits := ref("strict.ids"), ref("strict.f64.online.logits")
		tokens := ids.I32()
		m := open(t, golden.Path(t, name, "online"))
		var groups [][]Continuation
		var want [][]float64
		for _, group := range [][2][]int{{{5, 5, 5}, {6, 7, 8}}, {{1}, {8}}, {}, {{3, 7}, {8, 8}}} {
			var g []Continuation
			var w []float64
			for i := range group[0] {
				c := Continuation{tokens[:group[1][i]], group[0][i]}
				g, w = append(g, c), append(w, byHand(logits.FloatAt, m.Config.Vocab, c.Tokens, c.From))
			}
			groups, want = append(groups, g), append(want, w)
		}
		onDevices(t, func(t *testing.T, dev devices.Device) {
			for _, seqs := range []int{2, 4} {
				e, err := m.Start(t.Context(), dev, Shape{Context: 16, Seqs: seqs, Block: 4})
				if err != nil {
					t.Fatal(err)
				}
				var got [][]float64
				err = e.LogLikelihoods(t.Context(), groups, func(g int, sums []float64) error {
					if g != len(got) {
						t.Errorf("group %d comes at %d", g, len(got))
					}
					got = append(got, sums)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })); d != "" {
					t.Errorf("%s, %d sequences: %s", name, seqs, d)
				}
				if free := e.Session.FreeBlocks(); free != e.Session.Blocks() {
					t.Errorf("%d of %d blocks are free at the end", free, e.Session.Blocks())
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestLogLikelihoodsShare: groups that share their beginnings give the bits that
// each continuation gives alone.
func TestLogLikelihoodsShare(t *testing.T) {
	m := open(t, golden.Path(t, published[0], "online"))
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = rng.Int32N(int32(m.Config.Vocab))
		}
		return ids
	}
	head := draw(11)
	var groups, alone [][]Continuation
	for range 4 {
		question := append(append([]int32{}, head...), draw(1+rng.IntN(9))...)
		var g []Continuation
		for range 1 + rng.IntN(5) {
			c := Continuation{append(append([]int32{}, question...), draw(1+rng.IntN(4))...), len(question)}
			g, alone = append(g, c), append(alone, []Continuation{c})
		}
		groups = append(groups, g)
	}
	onDevices(t, func(t *testing.T, dev devices.Device) {
		run := func(seqs, chunk int, groups [][]Continuation) (all []float64) {
			e, err := m.Start(t.Context(), dev, Shape{Context: 32, Seqs: seqs, Chunk: chunk, Block: 4})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			err = e.LogLikelihoods(t.Context(), groups, func(_ int, sums []float64) error { all = append(all, sums...); return nil })
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		want := run(2, 64, alone)
		for _, seqs := range []int{2, 5, 16} {
			for _, chunk := range []int{16} {
				if d := cmp.Diff(want, run(seqs, chunk, groups)); d != "" {
					t.Errorf("%d sequences, steps of %d: %s", seqs, chunk, d)
				}
			}
		}
	})
}

func TestLogLikelihoodsErrors(t *testing.T) {
	m := open(t, golden.Path(t, published[0], "online"))
	dev, _, err := auto.Open(auto.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	one, err := m.Start(t.Context(), dev, Shape{Context: 8, Seqs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	if err := one.LogLikelihoods(t.Context(), nil, nil); err == nil {
		t.Error("one sequence is accepted")
	}
	e, err := m.Start(t.Context(), dev, Shape{Context: 8, Seqs: 3, Block: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, c := range []Continuation{{}, {[]int32{1}, 1}, {[]int32{1, 2}, 0}, {make([]int32, 10), 1}} {
		if err := e.LogLikelihoods(t.Context(), [][]Continuation{{c}}, nil); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	stop := errors.New("stop")
	good := Continuation{[]int32{1, 2, 3}, 1}
	if err := e.LogLikelihoods(t.Context(), [][]Continuation{{good, good}}, func(int, []float64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if free := e.Session.FreeBlocks(); free != e.Session.Blocks() {
		t.Errorf("%d of %d blocks are free after an error", free, e.Session.Blocks())
	}
}
