package engine

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// TestTrainingAndInferenceFormAgree gives every projection of the reference
// models the same inputs in both forms: the training form's fake quantizers
// hold exactly the codes of the inference form, the int32 accumulators equal
// the sum of those codes' products, and the floats differ only by rounding.
func TestTrainingAndInferenceFormAgree(t *testing.T) {
	const tokens = 5
	for _, name := range published {
		m := open(t, golden.Path(t, name, "online"))
		onDevices(t, func(t *testing.T, dev devices.Device) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, spec := range m.Config.Specs() {
				if !spec.Linear {
					continue
				}
				n, k := spec.Dims[0], spec.Dims[1]
				x := graph.NewTensor(graph.F32, tokens, k)
				for i := range x.F32() {
					x.F32()[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()))
				}
				w, err := m.Weights.Tensor(context.Background(), spec.Name)
				if err != nil {
					t.Fatal(err)
				}
				if w, err = w.ToF32(); err != nil {
					t.Fatal(err)
				}
				train := runLinear(t, dev, x, w, passes.Eval(false), func(x, w graph.Value) []graph.Value {
					return []graph.Value{bitlinear.Linear(x, w), ops.FakeQuant(x, ops.Int8), ternary.Fake(w)}
				})
				infer := runLinear(t, dev, x, w, passes.Pipeline{}, func(x, w graph.Value) []graph.Value {
					q, s := ops.QuantAct(x, ops.Int8)
					c, gamma := ternary.Quantize(w)
					acc := ternary.MatMul(q, c)
					return []graph.Value{bitlinear.Rescale(acc, s, gamma), q, s, c, gamma, acc}
				})
				q, s, c, gamma, acc := infer[1].I8(), infer[2].F32(), infer[3].I8(), infer[4].F32()[0], infer[5].I32()
				for i, v := range train[1].F32() {
					if v != float32(q[i])/s[i/k] {
						t.Fatalf("%s: fake-quantized input %d is %v, its code %d over %v", spec.Name, i, v, q[i], s[i/k])
					}
				}
				for i, v := range train[2].F32() {
					if v != float32(c[i])*gamma {
						t.Fatalf("%s: fake-quantized weight %d is %v, its code %d times %v", spec.Name, i, v, c[i], gamma)
					}
				}
				for row := range tokens {
					for col := range n {
						var sum int32
						var size float64
						for j := range k {
							p := int32(q[row*k+j]) * int32(c[col*k+j])
							sum, size = sum+p, size+math.Abs(float64(p))
						}
						at := row*n + col
						if acc[at] != sum {
							t.Fatalf("%s: accumulator %d is %d, the codes give %d", spec.Name, at, acc[at], sum)
						}
						// The training form rounds each of k products and sums.
						bound := 1e-6 * (size + 1) * float64(gamma/s[row])
						if d := math.Abs(float64(train[0].F32()[at] - infer[0].F32()[at])); d > bound {
							t.Errorf("%s: output %d differs by %.3g, bound %.3g", spec.Name, at, d, bound)
						}
					}
				}
			}
		})
	}
}

// runLinear builds a graph over an input x and a param w, compiles it for dev
// and returns its outputs.
func runLinear(t *testing.T, dev devices.Device, x, w graph.Tensor, p passes.Pipeline, build func(x, w graph.Value) []graph.Value) []graph.Tensor {
	t.Helper()
	b := graph.NewBuilder("linear")
	xv := b.Input("x", graph.F32, graph.C(x.Dims[0]), graph.C(x.Dims[1]))
	g, err := b.Finish(build(xv, b.Param("w", graph.F32, w.Dims...))...)
	if err != nil {
		t.Fatal(err)
	}
	if g, err = p.Run(g, nil); err != nil {
		t.Fatal(err)
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if err := prog.Load(context.Background(), runtime.Tensors{"w": w}); err != nil {
		t.Fatal(err)
	}
	run, err := prog.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	in, err := prog.Input("x")
	if err != nil {
		t.Fatal(err)
	}
	run.SetF32(in, x.F32())
	if err := run.Step(context.Background()); err != nil {
		t.Fatal(err)
	}
	var outs []graph.Tensor
	for i := range prog.Outputs() {
		o, err := run.Output(context.Background(), i)
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, o.Clone())
	}
	return slices.Clip(outs)
}

// TestOwnQuantizersAgree is the same for 4-bit activations and for weights with a
// scale for each group: codes are equal, and outputs differ only by rounding.
func TestOwnQuantizersAgree(t *testing.T) {
	const tokens, n, k = 5, 33, 192
	for _, a := range []bitlinear.Attrs{
		{Bits: 4, Round: "even", Scale: "absmean"},
		{Bits: 8, Round: "even", Scale: "absmean", Group: 64},
		{Bits: 4, Round: "even", Scale: "absmean", Group: 32},
		{Bits: 8, Round: "even", Scale: "absmean", Group: 1},
	} {
		onDevices(t, func(t *testing.T, dev devices.Device) {
			r := rand.New(rand.NewPCG(5, 6))
			x, w := graph.NewTensor(graph.F32, tokens, k), graph.NewTensor(graph.F32, n, k)
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()))
			}
			for i := range w.F32() {
				w.F32()[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()))
			}
			layer := func(x, w graph.Value) []graph.Value { return []graph.Value{bitlinear.Op.One(a, x, w)} }
			train := runLinear(t, dev, x, w, passes.Eval(false), layer)
			infer := runLinear(t, dev, x, w, passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, 8, 8, graph.F32), MaxRows: tokens}), layer)
			act := ops.QuantAttrs{Bits: a.Bits, Round: a.Round}
			qx := runLinear(t, dev, x, w, passes.Pipeline{}, func(x, w graph.Value) []graph.Value {
				q, _ := ops.QuantAct(x, act)
				return []graph.Value{ops.FakeQuant(x, act), q, ternary.FakeOp.One(a.Weights(), w)}
			})
			for _, c := range qx[1].I8() {
				if float32(c) > act.QMax() || float32(c) < -act.QMax()-1 {
					t.Fatalf("%+v: code %d", a, c)
				}
			}
			for i := range tokens {
				for j := range n {
					var size float64
					for l := range k {
						size += math.Abs(float64(qx[0].F32()[i*k+l]) * float64(qx[2].F32()[j*k+l]))
					}
					at := i*n + j
					if d := math.Abs(float64(train[0].F32()[at] - infer[0].F32()[at])); d > 1e-6*(size+1e-3) {
						t.Errorf("%+v: output %d is %v in training and %v in inference", a, at, train[0].F32()[at], infer[0].F32()[at])
					}
				}
			}
		})
	}
}
