package train

import (
	"fmt"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
)

// Distill configures distillation (Wu et al. 2025, "BitNet Distillation"). The
// teacher runs in the same compiled step, on the same tokens. What is lowered is
//
//	CrossEntropy·CE + Logits·KL(teacher ‖ model) + Relations·(AD of queries + of keys + of values)
//
// with the divergence of predictions of ops.DistillOp, and that of the token
// relations in one layer of ops.RelationOp. Queries and keys are taken as they are
// projected, before the rotary embedding.
type Distill struct {
	Teacher      string  `json:"teacher,omitempty" flag:"teacher" help:"Distill from this checkpoint, full-precision or ternary, of the same tokenizer." placeholder:"PATH" source:"Wu et al. 2025, BitNet Distillation"`
	Temperature  float64 `json:"temperature" help:"Both sides' logits are divided by it." source:"Hinton et al. 2015"`
	CrossEntropy float64 `json:"cross_entropy" help:"Weight of the loss on the targets."`
	Logits       float64 `json:"logits" help:"Weight of the divergence from the teacher's predictions."`
	Relations    float64 `json:"relations" help:"Weight of the divergence from the teacher's token relations; 0: none." source:"Wang et al. 2021, MiniLMv2"`
	Layer        int     `json:"layer" help:"Layer whose relations are compared, from 0; negative from the end, -1 the last."`
	Heads        int     `json:"heads,omitempty" help:"Relation heads; 0: as many as divide both sides' key/value heads."`
}

const (
	teacherScope  = "teacher"
	teacherPrefix = teacherScope + "."
)

func (c *Config) validateDistill(bad func(format string, args ...any)) {
	d := &c.Distill
	if d.Teacher == "" {
		return
	}
	if !(d.Temperature > 0 && d.Temperature < 1e4) {
		bad("distill temperature is %v, want above 0", d.Temperature)
	}
	for name, w := range map[string]float64{"cross_entropy": d.CrossEntropy, "logits": d.Logits, "relations": d.Relations} {
		if !(w >= 0 && w < 1e9) {
			bad("distill %s is weighed by %v, want at least 0", name, w)
		}
	}
	if d.CrossEntropy == 0 && d.Logits == 0 {
		bad("distill weighs neither cross_entropy nor logits: nothing would train the last layers")
	}
	if d.Heads < 0 {
		bad("distill heads is %d, want at least 0", d.Heads)
	}
}

// checkTeacher refuses a teacher that cannot be learned from.
func (c *Config) checkTeacher(teacher checkpoint.Config, vocab int) error {
	if teacher.Vocab != vocab {
		return fmt.Errorf("it has %d tokens, the model %d: they need the same tokenizer", teacher.Vocab, vocab)
	}
	if c.Quantization.warms() && !teacher.Float {
		return fmt.Errorf("it is ternary, and a quantization warmup would warm it up too: distill from a full-precision teacher or without warmup")
	}
	return nil
}

// loss extends a model's loss, see [Loss], by a teacher's. Its outputs are what is
// lowered, the cross-entropy, and the two divergences where they have a weight.
func (d *Distill) loss(loss *graph.Graph, teacher checkpoint.Config) (*graph.Graph, error) {
	both, err := withTeacher(loss, teacher)
	if err != nil {
		return nil, err
	}
	own, theirs := attentions(both.Nodes)
	b, m := graph.Reopen(both)
	ce, wanted := m[both.Outs[0]], m[both.Outs[1]]
	logits, targets := ce.Node().In[0], ce.Node().In[1]
	outs := []graph.Value{ce}
	var total graph.Value
	add := func(v graph.Value, by float64) {
		v = ops.Scale(v, by)
		if total.Valid() {
			v = ops.Add(total, v)
		}
		total = v
	}
	if d.CrossEntropy > 0 {
		add(ce, d.CrossEntropy)
	}
	if d.Logits > 0 {
		kl := b.Name(ops.Distill(logits, wanted, targets, d.Temperature), "distill_logits")
		outs = append(outs, kl)
		add(kl, d.Logits)
	}
	if d.Relations > 0 {
		x, err := pick(own, d.Layer, "model")
		if err != nil {
			return nil, err
		}
		t, err := pick(theirs, d.Layer, "teacher")
		if err != nil {
			return nil, err
		}
		heads := d.Heads
		if heads == 0 {
			heads = gcd(kvHeads(x), kvHeads(t))
		}
		var sum graph.Value
		for i := range 3 {
			r := ops.Relation(m[projected(x, i)], m[projected(t, i)], m[x.In[3]], heads)
			if i > 0 {
				r = ops.Add(sum, r)
			}
			sum = r
		}
		outs = append(outs, b.Name(sum, "distill_relations"))
		add(sum, d.Relations)
	}
	return b.Finish(append([]graph.Value{b.Name(total, "objective")}, outs...)...)
}

// withTeacher declares the teacher beside a loss, on the same inputs, and adds
// its logits to the outputs.
func withTeacher(loss *graph.Graph, teacher checkpoint.Config) (*graph.Graph, error) {
	teacher.Elem = graph.F32
	b, m := graph.Reopen(loss)
	var tok layer.Tokens
	for _, n := range loss.Inputs() {
		v := m[n.Result(0)]
		switch graph.SourceName(n) {
		case layer.TokensInput:
			tok.IDs = v
		case layer.SeqInput:
			tok.Seq = v
		case layer.PosInput:
			tok.Pos = v
		}
	}
	defer b.Scope(teacherScope)()
	return b.Finish(m[loss.Outs[0]], bitnet158.Declare(b, teacher, tok))
}

// attentions lists the attention nodes, one a layer, of the model and of the
// teacher.
func attentions(nodes []*graph.Node) (own, teacher []*graph.Node) {
	for _, n := range nodes {
		switch {
		case n.Op != ops.AttentionOp.OpDef:
		case n.Scope == teacherScope || strings.HasPrefix(n.Scope, teacherPrefix):
			teacher = append(teacher, n)
		default:
			own = append(own, n)
		}
	}
	return own, teacher
}

func pick(layers []*graph.Node, i int, of string) (*graph.Node, error) {
	at := i
	if at < 0 {
		at += len(layers)
	}
	if at < 0 || at >= len(layers) {
		return nil, fmt.Errorf("distill: the %s has %d layers, none is layer %d", of, len(layers), i)
	}
	return layers[at], nil
}

// projected is query, key or value of an attention node, before its rotation.
func projected(n *graph.Node, i int) graph.Value {
	v := n.In[i]
	if v.Op() == ops.RoPEOp.OpDef {
		return v.Node().In[0]
	}
	return v
}

func kvHeads(n *graph.Node) int {
	a, _ := ops.AttentionOp.Of(n)
	return a.KVHeads
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
