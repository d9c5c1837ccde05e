package engine

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/passes"
)

// TestAdapter holds a model that runs with an adapter, from masters and from
// codes, to the interpreter over its declared graph; and an adapter of zeros to
// the model without one.
func TestAdapter(t *testing.T) {
	ids := []int32{1, 9, 4, 7, 7, 2}
	onDevices(t, func(t *testing.T, dev devices.Device) {
		for _, form := range []string{"online", "offline"} {
			dir := golden.Path(t, published[0], form)
			plain, _, err := open(t, dir).Logits(t.Context(), dev, ids, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []float64{0, 0.2} {
				m := open(t, dir)
				if err := m.Adapt(randomAdapter(m, size)); err != nil {
					t.Fatal(err)
				}
				got, _, err := m.Logits(t.Context(), dev, ids, false)
				if err != nil {
					t.Fatal(err)
				}
				want := plain
				if size > 0 {
					want = interpreted(t, m, ids)
					if worst(got, plain) < 1e-2 {
						t.Error("the adapter makes no difference")
					}
				}
				if d := worst(got, want); d > 1e-4 {
					t.Errorf("%s, size %v: logits differ by %.3g", form, size, d)
				}
				if m.Adapt(randomAdapter(m, 1)) == nil {
					t.Error("a second adapter was accepted")
				}
			}
		}
	})
}

// randomAdapter adapts three projections of the first layer; size 0 makes B zero.
func randomAdapter(m *Model, size float64) *adapter.Adapter {
	r := rand.New(rand.NewPCG(5, 6))
	a := &adapter.Adapter{Config: adapter.Config{Rank: 3, Alpha: 6}, Tensors: map[string]graph.Tensor{}}
	for _, s := range m.Config.Specs() {
		switch s.Name {
		case "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.gate_proj.weight":
			x, y := graph.NewTensor(graph.F32, 3, s.Dims[1]), graph.NewTensor(graph.F32, s.Dims[0], 3)
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64() * 0.2)
			}
			for i := range y.F32() {
				y.F32()[i] = float32(r.NormFloat64() * size)
			}
			an, bn := passes.LoRANames(s.Name)
			a.Tensors[an], a.Tensors[bn] = x, y
		}
	}
	return a
}

// interpreted computes logits by the reference implementations, with projections
// as codes and scales.
func interpreted(t *testing.T, m *Model, ids []int32) graph.Tensor {
	t.Helper()
	g, err := m.Declare(len(ids))
	if err == nil {
		g, err = passes.Pipeline{passes.LowerBitLinear(func(string) bool { return true })}.Run(g, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	env := graph.Env{Inputs: map[string]graph.Tensor{}, Params: map[string]graph.Tensor{}}
	count := make([]int32, len(ids))
	for i := range count {
		count[i] = int32(i)
	}
	for name, v := range map[string][]int32{"tokens": ids, "seq": make([]int32, len(ids)), "pos": count} {
		env.Inputs[name] = graph.FromI32(v, len(v))
	}
	for _, p := range g.Params() {
		x, err := m.Weights.Tensor(context.Background(), graph.SourceName(p))
		if err == nil && p.Out[0].Elem == graph.F32 {
			x, err = x.ToF32()
		}
		if err != nil {
			t.Fatal(err)
		}
		env.Params[graph.SourceName(p)] = x
	}
	res, err := graph.Eval(g, env)
	if err != nil {
		t.Fatal(err)
	}
	return res.Outs[0]
}

func worst(a, b graph.Tensor) float64 {
	var most float64
	for i := range a.Len() {
		most = max(most, a.FloatAt(i)-b.FloatAt(i), b.FloatAt(i)-a.FloatAt(i))
	}
	return most
}
