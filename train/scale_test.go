package train_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/data"
)

const scaleRows, scaleWindow, scaleVocab = 8, 12, 30

func scaleLoss(t *testing.T) *graph.Graph {
	t.Helper()
	cfg := checkpoint.Config{
		ModelType: "bitnet", Vocab: scaleVocab, Hidden: 32, FFN: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 16,
		Act: checkpoint.ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32,
	}
	g, err := train.Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, cfg, tok) }, scaleRows*scaleWindow)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// unevenBatch counts many targets in some windows and few or none in others, so
// that a mean of means would be another loss.
func unevenBatch(seed uint64) *data.Batch {
	r := rand.New(rand.NewPCG(seed, 3))
	b := data.NewBatch(scaleRows, scaleWindow)
	for i := range b.Tokens {
		row, at := i/scaleWindow, i%scaleWindow
		b.Tokens[i], b.Targets[i] = r.Int32N(scaleVocab), r.Int32N(scaleVocab)
		b.Seq[i], b.Pos[i] = int32(row), int32(at)
		if row == 1 || row%3 == 0 && at > 2 {
			b.Targets[i] = data.IgnoreTarget
			continue
		}
		b.Counted++
	}
	return b
}

// outcome is what a few steps lead to.
type outcome struct {
	Results []train.Result
	State   train.State
}

// fewSteps runs a few steps on one rank from the same start.
func fewSteps(t *testing.T, dev devices.Device, r train.Recipe) (o outcome, err error) {
	loss := scaleLoss(t)
	e, err := train.NewEngine(loss, r, dev, scaleRows*scaleWindow)
	if err != nil {
		return o, err
	}
	init := train.Default().Init
	s := train.State{}
	if s.Weights, err = init.Weights(loss, 1); err != nil {
		return o, err
	}
	ctx := context.Background()
	if err := e.SetState(ctx, s); err != nil {
		return o, err
	}
	for i := range 3 {
		res, err := e.Step(ctx, unevenBatch(uint64(i)), 1e-3, 0.1)
		if err != nil {
			return o, err
		}
		o.Results = append(o.Results, res)
	}
	o.State, err = e.State(ctx)
	return o, errors.Join(err, e.Close())
}

func alone(t *testing.T, dev devices.Device, r train.Recipe) outcome {
	t.Helper()
	o, err := fewSteps(t, dev, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// onRanks runs the steps on n ranks, which must agree, and joins their parts of
// moments.
func onRanks(t *testing.T, n int, dev devices.Device, r train.Recipe) outcome {
	t.Helper()
	os, errs := make([]outcome, n), make([]error, n)
	var wg sync.WaitGroup
	for i, c := range inprocess.Group(n) {
		wg.Go(func() {
			r := r
			r.Scale.Ranks = c
			if os[i], errs[i] = fewSteps(t, dev, r); errs[i] != nil {
				c.Leave()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, o := range os[1:] {
		if d := cmp.Diff(os[0].Results, o.Results); d != "" {
			t.Errorf("rank %d reports other results: %s", i+1, d)
		}
		if o.State.Part != i+1 || o.State.Parts != n {
			t.Errorf("rank %d says it is %d of %d", i+1, o.State.Part, o.State.Parts)
		}
		for name, w := range os[0].State.Weights {
			if !bytes.Equal(w.Data, o.State.Weights[name].Data) {
				t.Errorf("%s differs on rank %d", name, i+1)
			}
		}
		for name, m := range o.State.Moments {
			first := os[0].State.Moments[name]
			if slices.Equal(m.Dims, os[0].State.Weights[name[strings.IndexByte(name, '/')+1:]].Dims) {
				if !bytes.Equal(m.Data, first.Data) {
					t.Errorf("%s differs on rank %d", name, i+1)
				}
				continue
			}
			first.Data = append(first.Data, m.Data...)
			os[0].State.Moments[name] = first
		}
	}
	for name, m := range os[0].State.Moments { // whole again
		w := os[0].State.Weights[name[strings.IndexByte(name, '/')+1:]]
		os[0].State.Moments[name] = graph.Tensor{Elem: m.Elem, Dims: w.Dims, Data: m.Data[:len(w.Data)]}
	}
	return os[0]
}

func equalBits(t *testing.T, what string, want, got outcome) {
	t.Helper()
	if d := cmp.Diff(want.Results, got.Results); d != "" {
		t.Errorf("%s: other results: %s", what, d)
	}
	for _, m := range [][2]map[string]graph.Tensor{{want.State.Weights, got.State.Weights}, {want.State.Moments, got.State.Moments}} {
		if len(m[0]) != len(m[1]) || len(m[0]) == 0 {
			t.Errorf("%s: %d tensors, want %d", what, len(m[1]), len(m[0]))
		}
		for name, x := range m[0] {
			if !bytes.Equal(x.Data, m[1][name].Data) {
				t.Errorf("%s: %s has other bits", what, name)
			}
		}
	}
}

// near demands that results and weights of a and b agree to the given share, of
// the value or of the largest weight of a tensor.
func near(t *testing.T, what string, a, b outcome, rel float64) {
	t.Helper()
	off := 0.0
	for i, r := range a.Results {
		off = max(off, math.Abs(r.Loss-b.Results[i].Loss)/r.Loss, math.Abs(r.GradNorm-b.Results[i].GradNorm)/r.GradNorm)
	}
	for _, m := range [][2]map[string]graph.Tensor{{a.State.Weights, b.State.Weights}, {a.State.Moments, b.State.Moments}} {
		for name, x := range m[0] {
			y := m[1][name].F32()
			top, d := 0.0, 0.0
			for i, v := range x.F32() {
				top = max(top, math.Abs(float64(v)))
				d = max(d, math.Abs(float64(v)-float64(y[i])))
			}
			off = max(off, d/max(top, 1e-12))
		}
	}
	t.Logf("%s: off by %.2g", what, off)
	if off > rel || math.IsNaN(off) {
		t.Errorf("%s: off by %g, more than %g", what, off, rel)
	}
}

func scaleRecipe(clip float64) train.Recipe {
	o := train.Default().Optimizer
	o.Clip = clip
	return train.Recipe{Optimizer: o}
}

// TestSpread: however a step is spread over micro-batches and ranks, it is the
// step of the whole batch; N ranks are the bits of N micro-batches.
//
// The bound between different splits is on plain models: a rounding difference
// may push a ternary weight or an activation over a quantizer's threshold, which
// then is a difference of a whole step of the quantizer.
func TestSpread(t *testing.T) {
	for _, dev := range testDevices(t) {
		t.Run(dev.Name(), func(t *testing.T) {
			spread := func(r train.Recipe, accumulate int, shard bool) train.Recipe {
				r.Scale.Accumulate, r.Scale.Shard = accumulate, shard
				return r
			}
			for _, plain := range []bool{true, false} {
				r := scaleRecipe(0.5) // clips
				r.Plain = plain
				r.Optimizer.EMA = 0.9
				parts := map[int]outcome{}
				for _, n := range []int{2, 4} {
					parts[n] = alone(t, dev, spread(r, n, false))
					equalBits(t, fmt.Sprintf("%d ranks", n), parts[n], onRanks(t, n, dev, spread(r, 0, false)))
				}
				both := onRanks(t, 2, dev, spread(r, 2, false))
				zero := onRanks(t, 2, dev, spread(r, 2, true))
				near(t, "ranks that accumulate, sharded or not", both, zero, 1e-5)
				if plain {
					whole := alone(t, dev, r)
					near(t, "2 micro-batches", whole, parts[2], 1e-4)
					near(t, "4 micro-batches", whole, parts[4], 1e-4)
					near(t, "2 ranks of 2 micro-batches", parts[4], both, 1e-4)
				}
				r.Optimizer.Clip = 0
				for _, n := range []int{2, 4} {
					want, got := alone(t, dev, spread(r, n, false)), onRanks(t, n, dev, spread(r, 0, true))
					for i := range want.Results { // parts of a norm are added in another order
						if math.Abs(want.Results[i].GradNorm-got.Results[i].GradNorm) > 1e-6*want.Results[i].GradNorm {
							t.Errorf("%d ranks, sharded: %+v, want %+v", n, got.Results, want.Results)
						}
						got.Results[i].GradNorm = want.Results[i].GradNorm
					}
					equalBits(t, fmt.Sprintf("%d ranks, sharded", n), want, got)
				}
			}
		})
	}
}

// TestRecomputationKeepsBits: a memory budget changes no bit, also together
// with micro-batches.
func TestRecomputationKeepsBits(t *testing.T) {
	for _, dev := range testDevices(t) {
		for _, accumulate := range []int{1, 2} {
			r := scaleRecipe(1)
			r.Scale.Accumulate = accumulate
			want := alone(t, dev, r)
			before, _, err := train.PlanStep(scaleLoss(t), r, dev, scaleRows*scaleWindow, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Scale.Memory = "1kB"
			_, _, err = train.PlanStep(scaleLoss(t), r, dev, scaleRows*scaleWindow, nil)
			var b *passes.BudgetError
			if !errors.As(err, &b) || b.Before != before.Total() || !strings.Contains(err.Error(), fmt.Sprint(b.Least)) {
				t.Fatalf("a budget of 1 kB: %v", err)
			}
			for _, budget := range []int{(b.Least + b.Before) / 2, b.Least} {
				r.Scale.Memory = fmt.Sprint(budget)
				after, re, err := train.PlanStep(scaleLoss(t), r, dev, scaleRows*scaleWindow, nil)
				if err != nil || after.Total() > budget || re.Nodes == 0 || re.Before != before.Total() || re.After != after.Total() {
					t.Errorf("budget %d: %+v, %+v, %v", budget, after, re, err)
				}
				equalBits(t, fmt.Sprintf("%s, %d micro-batches, budget %d of %d", dev.Name(), accumulate, budget, b.Before), want, alone(t, dev, r))
			}
		}
	}
}

// TestShardedMemory: each of four ranks holds a quarter of the moments, padding
// apart.
func TestShardedMemory(t *testing.T) {
	dev := testDevices(t)[0]
	r := scaleRecipe(1)
	whole, _, err := train.PlanStep(scaleLoss(t), r, dev, scaleRows*scaleWindow, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Scale.Ranks, r.Scale.Shard = inprocess.Group(4)[3], true
	part, _, err := train.PlanStep(scaleLoss(t), r, dev, scaleRows*scaleWindow, nil)
	if err != nil {
		t.Fatal(err)
	}
	pad := 2 * 4 * len(scaleLoss(t).Params())
	if part.Moments < whole.Moments/4 || part.Moments > whole.Moments/4+pad || part.Params != whole.Params || whole.Moments != 2*whole.Params {
		t.Errorf("alone %+v, a rank of four %+v", whole, part)
	}
}

func TestUnevenParts(t *testing.T) {
	b, total := unevenBatch(0), 0
	var counts []int
	for i := range 4 {
		var p data.Batch
		b.Part(i, 4, &p)
		counts = append(counts, p.Counted)
		total += p.Counted
		if p.Rows != 2 || !slices.Equal(p.Tokens, b.Tokens[24*i:24*(i+1)]) {
			t.Errorf("part %d has %d rows", i, p.Rows)
		}
	}
	if total != b.Counted || counts[0] == counts[2] {
		t.Errorf("parts count %v, the batch %d", counts, b.Counted)
	}
}

func TestScaleRefusals(t *testing.T) {
	for text, want := range map[string]int{"4096": 4096, "512MB": 512e6, "2GiB": 2 << 30, "1.5 kB": 1500, "3M": 3 << 20} {
		if n, err := train.ParseBytes(text); err != nil || n != want {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "MB", "-1", "5XB", "1e30GB", "NaN"} {
		if n, err := train.ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	c := tiny(t.TempDir(), t.TempDir(), testDevices(t)[0])
	c.Rows, c.Scale.Accumulate, c.Scale.Memory = 3, 2, "lots"
	_, err := train.New(c)
	for _, want := range []string{"3 rows cannot be cut into 2 micro-batches", `"lots" is no number of bytes`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
