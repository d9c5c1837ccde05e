package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/checkpoint"
)

// writer writes checkpoints of one run.
type writer struct {
	dir        string             // of the run
	model      *checkpoint.Config // nil for an architecture that has no config.json, and for adapters
	adapters   bool               // the weights are adapters' matrices
	order      []string           // params
	files      map[string][]byte  // companions of the weights, such as tokenizer.json
	keep       int
	keepBest   int
	shardBytes int64
	group      group
}

// snapshot is a copy of what a checkpoint holds beside progress.
type snapshot struct {
	State
	stats map[string]graph.Tensor // what the meter remembers
}

// stem is that of the weights' files.
func (w *writer) stem() string {
	if w.adapters {
		return adapter.Stem
	}
	return weightsStem
}

// write makes a checkpoint durable, then gives the run folder its weights and
// drops checkpoints that are too many. What fails after the checkpoint is
// complete is in after.
func (w *writer) write(ctx context.Context, p progress, s snapshot) (after, err error) {
	if err := finite(s.State); err != nil {
		return nil, err
	}
	target := filepath.Join(w.dir, checkpointsDir, stepName(p.Step))
	if w.group.size > 1 {
		err = w.writePart(ctx, target, p, s)
	} else {
		err = w.writeWhole(ctx, target, p, s)
	}
	if err != nil || w.group.rank > 0 {
		return nil, err
	}
	return errors.Join(w.publish(filepath.Join(target, modelDir)), w.prune()), nil
}

// writeWhole writes a checkpoint alone.
func (w *writer) writeWhole(ctx context.Context, target string, p progress, s snapshot) error {
	// Only a checkpoint that turned out damaged can be in the way.
	out, err := atomicfile.ReplaceDir(target)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := safetensors.WriteShards(out.Path("."), momentsStem, momentEntries(s.State), nil, w.shardBytes); err != nil {
		return err
	}
	if err := w.common(ctx, out, p, s); err != nil {
		return err
	}
	m := manifest{Ranks: 1, Files: map[string]fileSum{}}
	if err := summarize(out.Path("."), m.Files); err != nil {
		return err
	}
	if err := writeJSON(out.Path(manifestFile), m); err != nil {
		return err
	}
	return out.Commit()
}

// common writes what is not a process's own: weights, statistics and progress.
func (w *writer) common(ctx context.Context, out *atomicfile.Dir, p progress, s snapshot) error {
	if err := w.weights(ctx, out.Path(modelDir), s.State); err != nil {
		return err
	}
	if len(s.stats) > 0 {
		var entries []safetensors.Entry
		for name, t := range s.stats {
			entries = append(entries, safetensors.EntryOf(name, t))
		}
		if err := safetensors.WriteFile(out.Path(statsFile), entries, nil); err != nil {
			return err
		}
	}
	return writeJSON(out.Path(progressFile), p)
}

// weights writes the Hugging Face folder.
func (w *writer) weights(ctx context.Context, dir string, s State) error {
	if w.model == nil {
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
		var entries []safetensors.Entry
		for _, name := range w.order {
			stored := name
			if w.adapters {
				stored = adapter.FileName(name)
			}
			entries = append(entries, safetensors.EntryOf(stored, s.Weights[name]))
		}
		if err := safetensors.WriteShards(dir, w.stem(), entries, map[string]string{"format": "pt"}, w.shardBytes); err != nil {
			return err
		}
		for name, text := range w.files {
			if err := atomicfile.WriteFile(filepath.Join(dir, name), text); err != nil {
				return err
			}
		}
		return nil
	}
	var entries []checkpoint.Entry
	for _, name := range w.order {
		entries = append(entries, checkpoint.EntryOf(name, s.Weights[name], 0))
	}
	m, err := checkpoint.New(*w.model, entries)
	if err != nil {
		return err
	}
	return checkpoint.WriteFolder(ctx, m, dir, checkpoint.FolderOptions{Form: checkpoint.Masters, ShardBytes: w.shardBytes, Files: w.files})
}

// publish makes the run folder itself open as the newest model. Only the
// weights change during a run, so replacing one file at a time is enough;
// config.json comes last, because it makes a folder a model.
func (w *writer) publish(model string) error {
	files, err := safetensors.Files(model, w.stem())
	if err != nil {
		return err
	}
	if err := w.publishWeights(model, files); err != nil {
		return err
	}
	entries, err := os.ReadDir(model)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); n != configFile && n != safetensors.IndexName(w.stem()) && !slices.Contains(files, n) {
			names = append(names, n)
		}
	}
	if w.model != nil {
		names = append(names, configFile)
	}
	for _, name := range names {
		from, to := filepath.Join(model, name), filepath.Join(w.dir, name)
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(to); err == nil && string(old) == string(text) {
			continue
		}
		if err := atomicfile.WriteFile(to, text); err != nil {
			return err
		}
	}
	return nil
}

// publishWeights links the weights into the run folder. One file replaces the
// last one under its name. Shards of two steps must not mix, so theirs carry the
// step, and the index goes from one set to the next in one rename.
func (w *writer) publishWeights(model string, files []string) error {
	index := safetensors.IndexName(w.stem())
	single := safetensors.ShardName(w.stem(), 0, 1)
	keep := map[string]bool{single: true}
	if len(files) == 1 && files[0] == single {
		// Its name goes before the index, so there is no moment without a model.
		if err := atomicfile.Link(filepath.Join(model, single), filepath.Join(w.dir, single)); err != nil {
			return err
		}
	} else {
		text, err := os.ReadFile(filepath.Join(model, index))
		if err != nil {
			return err
		}
		x, err := safetensors.ParseIndex(text)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(model, index), err)
		}
		step := filepath.Base(filepath.Dir(model))
		linked := func(file string) string {
			return w.stem() + "-" + step + strings.TrimPrefix(file, w.stem())
		}
		keep = map[string]bool{index: true}
		for _, file := range files {
			keep[linked(file)] = true
			if err := atomicfile.Link(filepath.Join(model, file), filepath.Join(w.dir, linked(file))); err != nil {
				return err
			}
		}
		for tensor, file := range x.WeightMap {
			x.WeightMap[tensor] = linked(file)
		}
		if err := safetensors.WriteIndex(filepath.Join(w.dir, index), x); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n := e.Name()
		if ours := n == index || n == single || strings.HasPrefix(n, w.stem()+"-"+stepPrefix); !ours || keep[n] {
			continue
		}
		if err := atomicfile.RemoveAll(filepath.Join(w.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// prune removes old checkpoints that are not among the best, and what failures
// left behind.
func (w *writer) prune() error {
	parent := filepath.Join(w.dir, checkpointsDir)
	steps, err := listSteps(parent)
	if err != nil {
		return err
	}
	best := bestSteps(w.dir, steps)
	best = best[:min(len(best), w.keepBest)]
	for i, s := range steps {
		if i < w.keep || slices.Contains(best, s) {
			continue
		}
		if err := atomicfile.RemoveAll(filepath.Join(parent, stepName(s))); err != nil {
			return err
		}
	}
	if w.group.size > 1 {
		return nil // the others may have begun the next one
	}
	return atomicfile.Sweep(parent)
}

// finite refuses weights that no training can go on from.
func finite(s State) error {
	for name, t := range s.Weights {
		for _, t := range []graph.Tensor{t, s.Moments[Master+name]} {
			for i, v := range t.F32() {
				if v-v != 0 {
					return fmt.Errorf("%s[%d] is %v: not saved", name, i, v)
				}
			}
		}
	}
	return nil
}
