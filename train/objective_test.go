package train

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/passes"
)

// TestDistillGradient compares the gradient of a whole objective, cross-entropy
// and both divergences of a small model without quantization from a teacher of
// another width, with finite differences along random directions.
func TestDistillGradient(t *testing.T) {
	const tokens = 9
	shape := func(hidden, heads, layers int) checkpoint.Config {
		return checkpoint.Config{ModelType: "llama", Vocab: 11, Hidden: hidden, FFN: 2 * hidden, Layers: layers, Heads: heads, KVHeads: 2, HeadDim: hidden / heads,
			Act: checkpoint.SiLU, Tied: true, NormEps: 1e-5, Theta: 100, BOS: -1, Pad: -1, Elem: graph.F32, Float: true}
	}
	model := shape(8, 2, 2)
	loss, err := Loss(func(b *graph.Builder, tok layer.Tokens) graph.Value { return bitnet158.Declare(b, model, tok) }, tokens)
	if err != nil {
		t.Fatal(err)
	}
	d := Distill{Temperature: 1.5, CrossEntropy: 0.7, Logits: 2, Relations: 3, Layer: -1}
	g, err := d.loss(loss, shape(16, 4, 3))
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Outs) != 4 {
		t.Fatalf("%d outputs", len(g.Outs))
	}
	own := func(param string) bool { return !strings.HasPrefix(param, teacherPrefix) }
	forward, err := passes.Pipeline{passes.DropQuantize(), passes.Inline(nil)}.Run(g, nil)
	if err != nil {
		t.Fatal(err)
	}
	backward, err := passes.Grad(own).Run(forward)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(8, 9))
	env := graph.Env{Params: map[string]graph.Tensor{}, Inputs: map[string]graph.Tensor{
		"tokens": graph.FromI32([]int32{1, 4, 9, 9, 0, 3, 5, 7, 10}, tokens), "seq": graph.FromI32([]int32{0, 0, 0, 0, 0, 5, 5, 5, 8}, tokens),
		"pos": graph.FromI32([]int32{0, 1, 2, 3, 4, 0, 1, 2, 0}, tokens), "targets": graph.FromI32([]int32{4, -100, 9, 0, 3, 5, 7, -100, -100}, tokens),
	}}
	for _, p := range g.Params() {
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := graph.NewTensor(graph.F32, dims...)
		for i := range x.F32() {
			x.F32()[i] = float32(r.NormFloat64() * 0.4)
		}
		env.Params[graph.SourceName(p)] = x
	}
	eval := func(g *graph.Graph) []graph.Tensor {
		res, err := graph.Eval(g, env)
		if err != nil {
			t.Fatal(err)
		}
		return res.Outs
	}
	outs := eval(backward)
	sum := 0.7*outs[1].F32()[0] + 2*outs[2].F32()[0] + 3*outs[3].F32()[0]
	if math.Abs(float64(outs[0].F32()[0]-sum)) > 1e-5 || outs[2].F32()[0] <= 0 || outs[3].F32()[0] <= 0 {
		t.Errorf("the objective is %v, its parts sum up to %v", outs[0].F32()[0], sum)
	}
	i := 4
	for _, p := range backward.Params() {
		name := graph.SourceName(p)
		if !own(name) {
			continue
		}
		grad := outs[i].F32()
		i++
		x := env.Params[name]
		dir := make([]float64, x.Len())
		var slope float64
		for j := range dir {
			dir[j] = r.NormFloat64()
			slope += dir[j] * float64(grad[j])
		}
		at := func(h float64) float64 {
			moved := x.Clone()
			for j := range dir {
				moved.F32()[j] += float32(h * dir[j])
			}
			env.Params[name] = moved
			defer func() { env.Params[name] = x }()
			return float64(eval(forward)[0].F32()[0])
		}
		const h = 2e-3
		if got := (at(h) - at(-h)) / (2 * h); math.Abs(got-slope) > 2e-3*(1+math.Abs(slope)) {
			t.Errorf("%s: slope %v, the gradient says %v", name, got, slope)
		}
	}
	if i != len(outs) {
		t.Errorf("%d gradients, %d checked", len(outs)-4, i-4)
	}
}
