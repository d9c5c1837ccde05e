package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/passes"
)

// Declare adds a model to b and returns its logits f32[S,V], with V at least
// the tokenizer's size. It must declare the same graph each time, and its params
// as f32.
type Declare func(b *graph.Builder, tok layer.Tokens) graph.Value

// TargetsInput is the input i32[S] of the tokens to predict; see
// ops.CrossEntropy.
const TargetsInput = "targets"

// Loss declares the model and its mean cross-entropy over the targets, for
// steps of at most tokens tokens. The only output is the loss.
func Loss(declare Declare, tokens int) (*graph.Graph, error) {
	b := graph.NewBuilder("loss")
	tok := layer.Inputs(b, tokens)
	logits := declare(b, tok)
	targets := b.Input(TargetsInput, graph.I32, b.Sym(layer.TokensSym, 1, tokens))
	return b.Finish(b.Name(ops.CrossEntropy(logits, targets), "loss"))
}

// adamw configures the passes for the optimizer of the trained params.
func (r *Recipe) adamw(trained func(param string) bool) passes.AdamW {
	o := &r.Optimizer
	return passes.AdamW{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, MaxNorm: o.Clip, Decay: o.decays, EMA: o.EMA, Want: trained}
}

// pipeline is the train pipeline of the recipe, with fusions.
func (r *Recipe) pipeline(trained func(param string) bool, fused []*graph.OpDef) passes.Pipeline {
	return passes.Train(passes.TrainOptions{
		AdamW: r.adamw(trained), Plain: r.Plain, Warm: r.Quantization.warms(), Integer: r.Quantization.Forward == ForwardInteger,
		BF16: r.Precision == BF16, Dropout: r.Dropout.options(), Fused: fused, Spread: r.Scale.spread(),
	})
}

// StepGraph is a whole training step as one graph: params and moments are
// states, the outputs are the loss and the gradient norm. trace, if not nil,
// sees the graph after each pass.
//
// With Scale.Accumulate it is the part of the step that each micro-batch runs,
// which adds to gradients in states; the only output is the loss, and UpdateGraph
// is the other part.
func StepGraph(loss *graph.Graph, r Recipe, trace passes.Trace) (*graph.Graph, error) {
	return stepGraph(loss, r, nil, nil, trace)
}

// fusions are those of training that the device has kernels for.
func fusions(dev devices.Device) []*graph.OpDef {
	reg := devices.NewRegistry(dev)
	return slices.DeleteFunc(append(bitlinear.FusedTraining(), ops.AdamWCastOp.OpDef), func(op *graph.OpDef) bool { return !reg.Claims(op) })
}

func stepGraph(loss *graph.Graph, r Recipe, trained func(param string) bool, fused []*graph.OpDef, trace passes.Trace) (*graph.Graph, error) {
	for _, p := range loss.Params() {
		if p.Out[0].Elem != graph.F32 {
			return nil, fmt.Errorf("train: %s: param %q is %s: declare masters as f32", p.Where(), graph.SourceName(p), p.Out[0].Elem)
		}
	}
	for _, end := range r.Optimizer.NoDecay {
		if !slices.ContainsFunc(loss.Params(), func(p *graph.Node) bool { return strings.HasSuffix(graph.SourceName(p), end) }) {
			return nil, fmt.Errorf("train: no_decay: no param's name ends in %q; the first is %q", end, graph.SourceName(loss.Params()[0]))
		}
	}
	g, err := r.pipeline(trained, fused).Run(loss, trace)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return g, graph.Verify(g, graph.Training)
}

// UpdateGraph is the part of a step that follows its micro-batches: it sums the
// gradients over ranks, clips and applies them. The output is their norm.
func UpdateGraph(loss *graph.Graph, r Recipe, trace passes.Trace) (*graph.Graph, error) {
	return updateGraph(loss, r, nil, trace)
}

func updateGraph(loss *graph.Graph, r Recipe, trained func(param string) bool, trace passes.Trace) (*graph.Graph, error) {
	g, err := passes.Update(loss, r.adamw(trained), r.Scale.spread(), trace)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return g, graph.Verify(g, graph.Training)
}

// evalGraph is the loss in training form, without gradients.
func evalGraph(loss *graph.Graph, r Recipe) (*graph.Graph, error) {
	p, half := passes.Eval(r.Plain), r.Precision == BF16
	if half {
		var err error
		if p, err = p.Insert("cse", passes.Precision()); err != nil {
			return nil, err
		}
	}
	g, err := append(p, passes.Lowered(r.Quantization.Forward == ForwardInteger, half)...).Run(loss, nil)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return g, graph.Verify(g, graph.Training)
}

// vocabulary is how many tokens a loss has logits for.
func vocabulary(loss *graph.Graph) int {
	n, _ := loss.Outs[0].Node().In[0].Dim(-1).Const()
	return n
}
