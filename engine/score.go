package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// Logits runs tokens as one sequence in one step and returns the logits of every
// token, f32[S,vocab]. With hidden it also returns the residual stream before
// each layer and after the last one, f32[S,hidden] each.
func (m *Model) Logits(ctx context.Context, dev devices.Device, tokens []int32, hidden bool) (logits graph.Tensor, stream []graph.Tensor, err error) {
	if len(tokens) == 0 {
		return logits, nil, fmt.Errorf("no tokens are given")
	}
	for i, t := range tokens {
		if t < 0 || int(t) >= m.Config.Vocab {
			return logits, nil, fmt.Errorf("token %d at %d is outside the vocabulary of %d", t, i, m.Config.Vocab)
		}
	}
	g, err := m.Declare(len(tokens))
	if err != nil {
		return logits, nil, err
	}
	if hidden {
		if g, err = withResidualStream(g); err != nil {
			return logits, nil, err
		}
	}
	s := Shape{Context: len(tokens), Seqs: 1, Chunk: len(tokens), Whole: true}
	if g, err = m.InferPipeline(s).Run(g, nil); err != nil {
		return logits, nil, err
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		return logits, nil, err
	}
	defer prog.Close()
	if err := prog.Load(ctx, m.Weights); err != nil {
		return logits, nil, err
	}
	run, err := prog.NewRun()
	if err != nil {
		return logits, nil, err
	}
	defer run.Close()
	count := make([]int32, len(tokens))
	for i := range count {
		count[i] = int32(i)
	}
	for name, v := range map[string][]int32{
		layer.TokensInput: tokens, layer.SeqInput: make([]int32, len(tokens)), layer.PosInput: count, passes.RowsInput: count, passes.TableInput: nil,
	} {
		in, err := prog.Input(name)
		if err != nil {
			return logits, nil, err
		}
		if v == nil {
			blocks, _ := prog.Inputs()[in].Out[0].Shape[1].Const()
			v = make([]int32, blocks)
			for i := range v {
				v[i] = int32(i)
			}
		}
		run.SetI32(in, v)
	}
	syms := make([]int, len(prog.Syms()))
	for i := range syms {
		syms[i] = len(tokens)
	}
	if err := run.Step(ctx, syms...); err != nil {
		return logits, nil, err
	}
	for i := range prog.Outputs() {
		t, err := run.Output(ctx, i)
		if err != nil {
			return logits, nil, err
		}
		stream = append(stream, t.Clone())
	}
	return stream[0], stream[1:], nil
}

// withResidualStream adds what enters each layer's first norm, and the final
// norm, to the outputs.
func withResidualStream(g *graph.Graph) (*graph.Graph, error) {
	b, m := graph.Reopen(g)
	var outs []graph.Value
	for _, v := range g.Outs {
		outs = append(outs, m[v])
	}
	for _, n := range g.Nodes {
		if n.Op != ops.RMSNormOp.OpDef {
			continue
		}
		name := graph.SourceName(n.In[1].Node())
		if name == "model.norm.weight" || strings.HasSuffix(name, ".input_layernorm.weight") {
			outs = append(outs, m[n.In[0]])
		}
	}
	return b.Finish(outs...)
}

// Score is the likelihood of a text under a model.
type Score struct {
	Tokens int     // predicted
	Nats   float64 // summed negative log-likelihood
}

// Perplexity is exp of the mean loss.
func (s Score) Perplexity() float64 { return math.Exp(s.Nats / float64(max(s.Tokens, 1))) }

// BitsPerByte relates the loss to the length of the text that was scored.
func (s Score) BitsPerByte(bytes int) float64 { return s.Nats / math.Ln2 / float64(max(bytes, 1)) }

// Score predicts each token from the ones before it, in windows that fill the
// context; a window's first token is not predicted, except that windows overlap
// by half, so that every token but the text's first has at least half a window
// before it. progress may be nil.
func (e *Engine) Score(ctx context.Context, tokens []int32, progress func(done int)) (Score, error) {
	var sc Score
	s := e.Session
	window := s.Context()
	stride := max(window/2, 1)
	for from := 0; from+1 < len(tokens); from += stride {
		end := min(from+window, len(tokens))
		q, err := s.Open()
		if err != nil {
			return sc, err
		}
		// Tokens before scored were predicted by the window before.
		scored := from + 1
		if from > 0 {
			scored = from - stride + window
		}
		if err := s.Feed(q, runtime.AllLogits, tokens[from:end]...); err != nil {
			return sc, err
		}
		at := from
		for s.Pending(q) > 0 {
			if _, err := s.Step(ctx); err != nil {
				return sc, err
			}
			n, logits := s.Rows(q)
			for i := range n {
				if next := at + i + 1; next >= scored && next < end {
					sc.Nats += nll(logits[i*s.Vocab():(i+1)*s.Vocab()], tokens[next])
					sc.Tokens++
				}
			}
			at += n
		}
		if err := s.End(q); err != nil {
			return sc, err
		}
		if progress != nil {
			progress(end)
		}
		if end == len(tokens) {
			break
		}
	}
	return sc, nil
}

// nll is −log softmax(logits)[target], in float64.
func nll(logits []float32, target int32) float64 {
	most := math.Inf(-1)
	for _, v := range logits {
		most = max(most, float64(v))
	}
	var sum float64
	for _, v := range logits {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum) - float64(logits[target])
}

// ScoreTargets sums the loss of targets that a training batch asks for: tokens
// that have one value of seq are a sequence that begins with the first of them,
// and targets[i] is what comes after tokens[i], or negative if that does not
// count. It is what a trainer's validation measures, in inference form.
func (e *Engine) ScoreTargets(ctx context.Context, tokens, seq, targets []int32) (sc Score, err error) {
	if len(seq) != len(tokens) || len(targets) != len(tokens) {
		return sc, fmt.Errorf("%d tokens, %d sequence numbers and %d targets", len(tokens), len(seq), len(targets))
	}
	s := e.Session
	for from := 0; from < len(tokens); {
		end := from + 1
		for end < len(tokens) && seq[end] == seq[from] {
			end++
		}
		q, err := s.Open()
		if err != nil {
			return sc, err
		}
		if err := s.Feed(q, runtime.AllLogits, tokens[from:end]...); err != nil {
			return sc, errors.Join(err, s.End(q))
		}
		for s.Pending(q) > 0 {
			if _, err := s.Step(ctx); err != nil {
				return sc, errors.Join(err, s.End(q))
			}
			n, logits := s.Rows(q)
			for i := range n {
				if next := targets[from+i]; next >= 0 {
					sc.Nats += nll(logits[i*s.Vocab():(i+1)*s.Vocab()], next)
					sc.Tokens++
				}
			}
			from += n
		}
		if err := s.End(q); err != nil {
			return sc, err
		}
	}
	return sc, nil
}
