package runtime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// view has its operand's memory.
var view = graph.Define(graph.Def[graph.None]{
	Name: "test.view", In: "x", Out: "y", View: true,
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return in[:1], nil },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		copy(out[0].Data, in[0].Data)
		return nil
	},
})

// accumulate adds x into a state.
var accumulate = graph.Define(graph.Def[graph.None]{
	Name: "test.accumulate", In: "s, x", Out: "s", Updates: []graph.Update{{}},
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return in[:1], nil },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		copy(out[0].Data, in[0].Data)
		for i, v := range in[1].F32() {
			out[0].F32()[i%out[0].Len()] += v
		}
		return nil
	},
})

// fusedPair has a body of two ops that the toy device runs only one of.
var fusedPair = graph.Define(graph.Def[graph.None]{
	Name: "test.pair", Uses: []*graph.OpDef{ops.ReLU2Op.OpDef, ops.AddOp.OpDef, view.OpDef},
	Body: `(%x, %y) -> (%a, %b) {
		%a = relu2(%x)
		%c = add(%a, %y)
		%b = test.view(%c)
	}`,
})

// randomGraph declares a graph of elementwise ops on f32[S,w], matrix products
// with weights, views, states and fused ops.
func randomGraph(rng *rand.Rand, size int) (*graph.Graph, error) {
	b := graph.NewBuilder("random")
	s := b.Sym("S", 0, 9)
	widths := []int{1, 3, 8}
	pool := map[int][]graph.Value{}
	add := func(v graph.Value) { w, _ := v.Dim(1).Const(); pool[w] = append(pool[w], v) }
	for i, w := range widths {
		add(b.Input(fmt.Sprintf("x%d", i), graph.F32, s, graph.C(w)))
	}
	states := map[int]graph.Value{}
	take := func(w int) graph.Value {
		vs := pool[w]
		return vs[max(rng.IntN(len(vs)), rng.IntN(len(vs)))] // prefer recent ones
	}
	for i := range size {
		w := widths[rng.IntN(len(widths))]
		switch rng.IntN(9) {
		case 0:
			add(ops.Add(take(w), take(w)))
		case 1:
			add(ops.ReLU2(ops.Scale(take(w), 0.125)))
		case 2:
			add(ops.Mul(take(w), take(w)))
		case 3:
			v := widths[rng.IntN(len(widths))]
			weight := b.Param(fmt.Sprintf("w%d_%d_%d", v, w, rng.IntN(2)), graph.F32, v, w)
			if rng.IntN(2) == 0 {
				weight = ops.Scale(weight, 0.5)
			}
			add(ops.Linear(take(w), weight))
		case 4:
			add(view.One(graph.None{}, take(w)))
		case 5:
			st, ok := states[w]
			if !ok {
				st = b.State(fmt.Sprintf("s%d", w), graph.F32, graph.C(w))
			}
			states[w] = accumulate.One(graph.None{}, st, take(w))
		case 6:
			add(ops.RMSNorm(take(w), b.Param(fmt.Sprintf("g%d_%d", w, i), graph.F32, w), 1e-5))
		case 7:
			out := fusedPair.Emit(graph.None{}, take(w), take(w))
			add(out[0])
			add(out[1])
		case 8:
			add(ops.Add(take(w), ops.Scale(ops.Sum(take(widths[rng.IntN(len(widths))])), 0.01)))
		}
	}
	var outs []graph.Value
	for range 1 + rng.IntN(3) {
		outs = append(outs, take(widths[rng.IntN(len(widths))]))
	}
	for _, st := range states {
		outs = append(outs, st)
		break
	}
	return b.Finish(outs...)
}

// TestRandomGraphsAgainstInterpreter runs random graphs at changing sizes on a
// device whose kernels work in place and leave dirt behind, and compares outputs
// and states with the interpreter's, bit for bit.
func TestRandomGraphsAgainstInterpreter(t *testing.T) {
	dev := toy(t, []devices.Kernel{addKernel(), mulKernel(), unaryKernel(ops.ReLU2Op.OpDef, relu2), host.RefKernel(),
		columnsMatMul("matmul.columns", "columns", "ref", func(c *devices.Call) error {
			if a := c.Attrs.(ops.MatMulAttrs); a.TA || !a.TB {
				return fmt.Errorf("not x·wᵀ")
			}
			return nil
		}, 1)}, columns("columns"))
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g, err := randomGraph(rng, 1+rng.IntN(30))
		if err != nil {
			t.Fatal(err)
		}
		if err := graph.Verify(g, graph.AnyPhase); err != nil {
			t.Fatal(err)
		}
		env := graph.Env{Inputs: map[string]graph.Tensor{}, Params: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
		for _, n := range g.Params() {
			dims, _ := n.Out[0].Shape.Eval(nil)
			env.Params[graph.SourceName(n)] = randF32(rng, dims...)
		}
		p := compile(t, g, dev, MaxPlans(1+rng.IntN(3)))
		r := newRun(t, p, Tensors(env.Params))
		for range 5 {
			s := rng.IntN(10)
			for i, n := range p.Inputs() {
				dims, _ := n.Out[0].Shape.Eval(map[string]int{"S": s})
				x := randF32(rng, dims...)
				env.Inputs[graph.SourceName(n)] = x
				r.Set(Input(i), x)
			}
			want, err := graph.Eval(g, env)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Step(t.Context(), s); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, g)
			}
			for i, w := range want.Outs {
				got, err := r.Output(t.Context(), i)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Data, w.Data) || !got.Type().Equal(w.Type()) {
					t.Fatalf("seed %d, S=%d, output %d: got %v, want %v\n%s", seed, s, i, got.F32(), w.F32(), g)
				}
			}
			env.States = want.States
			for name, w := range want.States {
				got, err := r.ReadState(t.Context(), name)
				if err != nil || !bytes.Equal(got.Data, w.Data) {
					t.Fatalf("seed %d, S=%d, state %s: got %v, want %v, %v\n%s", seed, s, name, got.F32(), w.F32(), err, g)
				}
			}
		}
	}
}
