package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"github.com/trit-ml/trit/train/data"
)

// Convert says how a model without quantization becomes a ternary one.
type Convert struct {
	// NoSubNorm leaves the norms before the output and down projections out.
	NoSubNorm bool `json:"no_sub_norm,omitempty" help:"Do not insert the norms before output and down projections that BitNet b1.58 has."`
	// Act is the activation: empty keeps the model's.
	Act string `json:"act,omitempty" help:"Activation, silu or relu2; the model's own by default." placeholder:"NAME"`
}

func (c *Config) validateConvert(bad func(format string, args ...any)) {
	if a := c.Convert.Act; a != "" && a != checkpoint.SiLU && a != checkpoint.ReLU2 {
		bad("convert act is %q, want %q or %q", a, checkpoint.SiLU, checkpoint.ReLU2)
	}
	if c.Convert != (Convert{}) && c.From == "" {
		bad("convert says how a checkpoint is converted, but from (--init) names none")
	}
}

// convert is the configuration of what is trained from a checkpoint: that of a
// model without quantization gets the norms of BitNet, unless its unquantized
// twin is what is trained.
func (c *Config) convert(from checkpoint.Config) (checkpoint.Config, error) {
	if !from.Float {
		if c.Convert != (Convert{}) {
			return from, errors.New("convert is for models without quantization; this one is BitNet already")
		}
		return from, nil
	}
	if c.Plain {
		if c.Convert != (Convert{}) {
			return from, errors.New("convert makes a ternary model, plain trains one without quantization: set one")
		}
		from.Float = false // as it is written, see writer
		return from, nil
	}
	return bitnet158.FromFloat(from, !c.Convert.NoSubNorm, c.Convert.Act)
}

// startFrom gives the trained params the checkpoint's values. Norms that it lacks
// are set so that they keep the size of what passes through them, measured on a
// batch: a norm without weight would scale a layer's contribution by 1/RMS.
func startFrom(ctx context.Context, m *checkpoint.Model, params []*graph.Node, dev devices.Device, b *data.Batch) (map[string]graph.Tensor, error) {
	has := map[string]bool{}
	for _, s := range m.Specs() {
		has[s.Name] = true
	}
	weights := map[string]graph.Tensor{}
	var missing []*graph.Node
	for _, p := range params {
		name := graph.SourceName(p)
		if !has[name] {
			missing = append(missing, p)
			continue
		}
		t, err := m.Tensor(name)
		if err != nil {
			return nil, err
		}
		weights[name] = t
	}
	// Norms inside projections, which a recipe may add, begin with ones.
	missing = slices.DeleteFunc(missing, func(p *graph.Node) bool {
		name := graph.SourceName(p)
		own := strings.HasSuffix(name, "."+checkpoint.ProjNormName)
		if own {
			weights[name] = filled(p, 1)
		}
		return own
	})
	if len(missing) == 0 {
		return weights, nil
	}
	size, err := norms(ctx, m, dev, b)
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		name := graph.SourceName(p)
		rms, ok := size[name]
		if !ok {
			return nil, fmt.Errorf("the checkpoint has no tensor %q", name)
		}
		weights[name] = filled(p, rms)
	}
	return weights, nil
}

// filled is a value for a norm's param.
func filled(p *graph.Node, v float32) graph.Tensor {
	n, _ := p.Out[0].Shape[0].Const()
	t := graph.NewTensor(graph.F32, n)
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return t
}

// norms measures what enters the output and down projections of a model without
// quantization: by the name of the norm that is inserted there, the mean over a
// batch's tokens of the root mean square. Of all weights that are the same in
// every channel, it brings the norm's output nearest to its input.
func norms(ctx context.Context, m *checkpoint.Model, dev devices.Device, batch *data.Batch) (map[string]float32, error) {
	cfg := m.Config()
	cfg.Elem = graph.F32
	tokens := len(batch.Tokens)
	g, err := bitnet158.Forward(cfg, tokens)
	if err == nil {
		g, err = passes.Pipeline{passes.DropQuantize()}.Run(g, nil)
	}
	if err != nil {
		return nil, err
	}
	at := map[string]string{} // weight of a projection to the norm before it
	for i := range cfg.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		at[p+"self_attn.o_proj.weight"] = p + "self_attn.attn_sub_norm.weight"
		at[p+"mlp.down_proj.weight"] = p + "mlp.ffn_sub_norm.weight"
	}
	b, vals := graph.Reopen(g)
	var names []string
	var outs []graph.Value
	for _, n := range g.Nodes {
		if n.Op != ops.MatMulOp.OpDef || n.In[1].Op() != graph.ParamOp.OpDef {
			continue
		}
		if name, ok := at[graph.SourceName(n.In[1].Node())]; ok {
			names = append(names, name)
			x := vals[n.In[0]]
			outs = append(outs, ops.Sqrt(ops.MeanAxis(ops.Mul(x, x), 1)))
		}
	}
	if g, err = b.Finish(outs...); err != nil {
		return nil, err
	}
	prog, err := runtime.Compile(g, dev, runtime.Fix(layer.TokensSym, tokens))
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	if err := prog.Load(ctx, bitnet158.NewWeights(m)); err != nil {
		return nil, err
	}
	run, err := prog.NewRun()
	if err != nil {
		return nil, err
	}
	defer run.Close()
	for _, f := range []struct {
		name string
		vals []int32
	}{{layer.TokensInput, batch.Tokens}, {layer.SeqInput, batch.Seq}, {layer.PosInput, batch.Pos}} {
		in, err := prog.Input(f.name)
		if err != nil {
			return nil, err
		}
		run.SetI32(in, f.vals)
	}
	if err := run.Step(ctx); err != nil {
		return nil, err
	}
	size := map[string]float32{}
	for i, name := range names {
		t, err := run.Output(ctx, i)
		if err != nil {
			return nil, err
		}
		var sum float64
		for _, v := range t.F32() {
			sum += float64(v)
		}
		if size[name] = float32(sum / float64(t.Len())); !(size[name] > 0) || math.IsInf(float64(size[name]), 0) {
			return nil, fmt.Errorf("what enters the projection behind %s has a root mean square of %v", name, size[name])
		}
	}
	return size, nil
}
