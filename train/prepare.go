package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/chat"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/tokenizer"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/train/data"
)

// prepare makes everything that the loop needs: texts, tokenizer, program,
// weights.
func (t *Trainer) prepare(ctx context.Context) error {
	c := &t.cfg
	if err := t.meet(); err != nil {
		return err
	}
	rank, size := c.Scale.ranks()
	if rank == 0 {
		for _, dir := range []string{c.Dir, filepath.Join(c.Dir, cacheDir), filepath.Join(c.Dir, checkpointsDir)} {
			if err := atomicfile.Sweep(dir); err != nil {
				return fmt.Errorf("train: %w", err)
			}
		}
		if err := t.texts(ctx); err != nil {
			return err
		}
	}
	if size > 1 {
		if err := t.shareTokenizer(); err != nil {
			return err
		}
	}
	if rank > 0 { // from the cache that rank 0 has filled
		if err := t.texts(ctx); err != nil {
			return err
		}
	}
	sep, err := separator(t.tok)
	if err != nil {
		return err
	}
	t.emit(Event{Kind: Preparing, Message: fmt.Sprintf("%d training and %d held-out documents, %.1f and %.1f MB, %.2f bytes per token",
		t.tokens.Train.Docs(), t.tokens.Valid.Docs(), float64(t.tokens.Train.Bytes())/1e6, float64(t.tokens.Valid.Bytes())/1e6,
		float64(t.tokens.Train.Bytes())/float64(t.tokens.Train.Len()))})
	if t.from != nil && t.from.Data != t.tokens.ID {
		return fmt.Errorf("train: the text in %s is not what the run began with: resuming would not continue it; restore the files, or start a new run from its weights with From", c.Data.Path)
	}
	var at data.Position
	if t.from != nil {
		at = t.from.Position
	}
	var note string
	if t.train, note, err = c.source(t.tokens, t.tok, sep, at); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if note != "" {
		t.emit(Event{Kind: Preparing, Message: note})
	}
	if t.valid, err = c.held(t.tokens, t.tok, sep, c.Window, 0, c.ValidateWindows); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	t.batch = data.NewBatch(c.Rows, c.Window)
	if err := t.model(ctx, sep); err != nil {
		return err
	}
	t.progress = progress{Format: progressFormat, Version: version(), Device: c.Device.Name(), Data: t.tokens.ID, Base: t.base, Custom: c.Declare != nil, Config: *c}
	if t.from != nil {
		t.progress.Step, t.progress.Position = t.from.Step, t.from.Position
		t.progress.Last, t.progress.Best = t.from.Last, t.from.Best
	}
	return t.saver()
}

// texts finds or makes the tokenizer and the tokenized texts.
func (t *Trainer) texts(ctx context.Context) error {
	c := &t.cfg
	t.emit(Event{Kind: Preparing, Message: "listing texts in " + c.Data.Path})
	texts, err := scan(ctx, c.Data)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if t.tok == nil {
		if t.tok, err = t.tokenizer(ctx, texts.documents); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	sep, err := separator(t.tok)
	if err != nil {
		return err
	}
	if t.tokens, err = texts.tokenize(ctx, c.Data, t.tok, sep, t.origin(), c.Dir, t.report("tokenizing text")); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

func (t *Trainer) report(what string) func(done, total int64) {
	return func(done, total int64) {
		t.emit(Event{Kind: Preparing, Message: what, Done: done, Total: total})
	}
}

// origin is the folder that the run's tokenizer and chat template come from, ""
// if it has none.
func (t *Trainer) origin() string {
	if t.from != nil {
		return filepath.Join(t.from.dir, modelDir)
	}
	return t.cfg.From
}

func (t *Trainer) tokenizer(ctx context.Context, corpus *data.Corpus) (*tokenizer.Tokenizer, error) {
	switch c := t.cfg; {
	case t.origin() != "":
		return tokenizer.Load(t.origin())
	case c.Tokenizer.Kind == File:
		return tokenizer.Load(c.Tokenizer.Path)
	case c.Tokenizer.Kind == BPE:
		return corpus.Learn(ctx, c.Tokenizer.Vocab, tokenizer.SplitLlama3, t.report("learning a tokenizer"))
	}
	return tokenizer.NewBytes(data.Separator)
}

// separator is the token that goes in front of every document.
func separator(tok *tokenizer.Tokenizer) (int32, error) {
	for _, id := range []int32{tok.Special(data.Separator), tok.EOS(), tok.BOS()} {
		if id != tokenizer.None {
			return id, nil
		}
	}
	return 0, fmt.Errorf("train: the tokenizer has no special token to separate documents: add %s", data.Separator)
}

// lengths is the bytes that each token stands for.
func lengths(tok *tokenizer.Tokenizer) []uint16 {
	n := make([]uint16, tok.VocabSize())
	for id := range n {
		if k := tok.Kind(int32(id)); k == tokenizer.Normal || k == tokenizer.UserDefined || k == tokenizer.Byte {
			n[id] = uint16(min(len(tok.Token(int32(id))), math.MaxUint16))
		}
	}
	return n
}

// model compiles the step and sets the weights it starts from.
func (t *Trainer) model(ctx context.Context, sep int32) error {
	c := &t.cfg
	state := State{}
	var start *checkpoint.Model
	if c.From != "" && (t.from == nil || c.LoRA.Rank > 0) {
		var err error
		if start, err = checkpoint.Open(c.From, checkpoint.FullPrecision()); err != nil {
			return fmt.Errorf("train: %w", err)
		}
		if c.LoRA.Rank > 0 {
			t.frozen = frozen{"": start} // closed with the trainer
		} else {
			defer start.Close()
		}
		if c.Model, err = c.begin(start.Config()); err != nil {
			return fmt.Errorf("train: %s: %w", c.From, err)
		}
	}
	vocab := t.tok.VocabSize()
	if c.Declare == nil {
		if c.From != "" {
			if c.Model.Vocab < vocab {
				return fmt.Errorf("train: the model has %d tokens, its tokenizer %d", c.Model.Vocab, vocab)
			}
			vocab = c.Model.Vocab
			if t.from == nil && c.LoRA.Rank == 0 {
				c.Quantization.of(&c.Model)
			}
		} else {
			c.Model.BOS, c.Model.EOS = int(sep), []int{int(sep)}
		}
		c.Model.Vocab, c.Model.Elem, c.Model.Form, c.Model.Float = vocab, graph.F32, checkpoint.Masters, c.Plain
		c.Model.Context = max(c.Model.Context, c.Window)
		if err := c.Model.Validate(); err != nil {
			return fmt.Errorf("train: model: %w", err)
		}
	}
	t.watch = watch{explode: c.Explode, uniform: math.Log(float64(vocab))}
	loss, err := Loss(c.declare(), c.Rows*c.Window)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if n := vocabulary(loss); n < vocab {
		return fmt.Errorf("train: the model has logits for %d tokens, the tokenizer has %d", n, vocab)
	}
	obj, err := t.objective(ctx, loss)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	trained := obj.params()
	t.emit(Event{Kind: Preparing, Message: fmt.Sprintf("compiling %.2f M parameters for %s", float64(count(trained))/1e6, c.Device.Name())})
	c.Dropout.Seed = c.Seed
	if t.engine, err = obj.Engine(ctx, c.Recipe, c.Device, c.Rows*c.Window); err != nil {
		return err
	}
	switch {
	case t.from != nil:
		state, err = t.from.state(0, 1)
	case c.LoRA.Rank > 0:
		state.Weights, err = c.LoRA.start(trained, c.Seed)
	case start != nil:
		state.Weights, err = t.start(ctx, start, trained)
	default:
		state.Weights, err = c.Init.Weights(loss, c.Seed)
	}
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if err := t.engine.SetState(ctx, state); err != nil {
		return err
	}
	if err := t.reportMemory(); err != nil {
		return err
	}
	return t.measuring(ctx, obj.Step)
}

// measuring prepares the weight statistics.
func (t *Trainer) measuring(ctx context.Context, loss *graph.Graph) error {
	if rank, _ := t.cfg.Scale.ranks(); t.cfg.Plain || rank > 0 {
		return nil
	}
	if t.meter = newMeter(loss, t.cfg.StatsEvery); t.meter == nil {
		return nil
	}
	if t.from != nil {
		stats, err := t.from.stats()
		if err != nil {
			return err
		}
		t.meter.restore(stats)
	}
	return t.meter.begin(ctx, t.engine)
}

// begin is the configuration of what is trained from a checkpoint.
func (c *Config) begin(from checkpoint.Config) (checkpoint.Config, error) {
	switch {
	case c.LoRA.Rank > 0 && from.Float:
		return from, errors.New("it has no ternary weights that adapters could stand beside: train some from it first, without lora")
	case c.LoRA.Rank > 0:
		return from, nil
	case from.Form != checkpoint.Masters:
		return from, errors.New("it holds ternary codes; training starts from masters, or trains adapters beside the codes (--lora-rank)")
	}
	return c.convert(from)
}

// start is the trained params' values in a checkpoint.
func (t *Trainer) start(ctx context.Context, m *checkpoint.Model, trained []*graph.Node) (map[string]graph.Tensor, error) {
	first, _, err := t.cfg.source(t.tokens, t.tok, 0, data.Position{})
	if err != nil {
		return nil, err
	}
	first.Next(t.batch)
	return startFrom(ctx, m, trained, t.cfg.Device, t.batch)
}

// objective is the loss with the adapters and the teacher that the run has.
func (t *Trainer) objective(ctx context.Context, loss *graph.Graph) (o Objective, err error) {
	c := &t.cfg
	if loss, err = c.adapted(loss, t.frozen); err != nil {
		return o, err
	}
	o.Step, o.Eval = loss, loss
	if c.LoRA.Rank > 0 {
		o.Trained = isAdapter
		if t.base, err = digest(ctx, t.frozen[""]); err != nil {
			return o, err
		}
		if t.from != nil && t.from.Base != t.base {
			return o, fmt.Errorf("%s is not the checkpoint that the adapters were trained beside", c.From)
		}
	}
	if c.Distill.Teacher != "" {
		m, err := checkpoint.Open(c.Distill.Teacher, checkpoint.FullPrecision())
		if err != nil {
			return o, fmt.Errorf("teacher: %w", err)
		}
		if t.frozen == nil {
			t.frozen = frozen{}
		}
		t.frozen[teacherPrefix] = m
		if err := c.checkTeacher(m.Config(), vocabulary(loss)); err != nil {
			return o, fmt.Errorf("teacher %s: %w", c.Distill.Teacher, err)
		}
		if o.Step, err = c.Distill.loss(loss, m.Config()); err == nil {
			o.Step, err = passes.Pipeline{passes.Freeze(t.frozen.form)}.Run(o.Step, nil)
		}
		if err != nil {
			return o, err
		}
		o.Trained = func(param string) bool {
			return !strings.HasPrefix(param, teacherPrefix) && (c.LoRA.Rank == 0 || isAdapter(param))
		}
	}
	if t.frozen != nil {
		o.Frozen = t.frozen
	}
	return o, nil
}

// adapted is a loss with the adapters of the configuration, if it has some,
// beside the frozen weights of base.
func (c *Config) adapted(loss *graph.Graph, base frozen) (*graph.Graph, error) {
	if c.LoRA.Rank == 0 {
		return loss, nil
	}
	loss, err := c.LoRA.adapt(loss)
	if err != nil {
		return nil, err
	}
	return passes.Pipeline{passes.Freeze(base.form)}.Run(loss, nil)
}

// count is the number of values of params.
func count(params []*graph.Node) int {
	n := 0
	for _, p := range params {
		dims, err := p.Out[0].Shape.Eval(nil)
		if err != nil {
			continue
		}
		k, _ := graph.Count(dims)
		n += k
	}
	return n
}

// saver prepares saving: the tokenizer's files are the same in every
// checkpoint.
func (t *Trainer) saver() error {
	w := &writer{dir: t.cfg.Dir, order: t.engine.Params(), keep: t.cfg.Keep, keepBest: t.cfg.KeepBest, shardBytes: t.cfg.ShardBytes}
	var err error
	if w.files, err = tokenizerFiles(t.tok); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	rank, size := t.cfg.Scale.ranks()
	w.group = group{rank: rank, size: size, patience: patience}
	if t.origin() != "" {
		tpl, err := template(t.origin())
		if err != nil {
			return fmt.Errorf("train: %w", err)
		}
		if tpl.Name() != chat.Default().Name() {
			w.files[templateFile] = []byte(tpl.Source())
		}
	}
	switch {
	case t.cfg.LoRA.Rank > 0:
		w.adapters = true
		if w.files[adapter.ConfigFile], err = t.adapterConfig().Encode(); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	case t.cfg.Declare == nil:
		w.model = &t.cfg.Model
	}
	t.save = newSaver(w)
	if rank > 0 {
		return nil
	}
	t.recorder = newRecorder(t.cfg.Dir, t.progress.Step, t.cfg.TensorBoardEvery, t.warn)
	if t.from == nil {
		return nil
	}
	// A crash may have come between the checkpoint and this.
	if err := w.publish(filepath.Join(t.from.dir, modelDir)); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// tokenizerFiles is what Save writes.
func tokenizerFiles(tok *tokenizer.Tokenizer) (files map[string][]byte, err error) {
	tmp, err := os.MkdirTemp("", "trit-tokenizer-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := tok.Save(tmp); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return nil, err
	}
	files = map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(tmp, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}
