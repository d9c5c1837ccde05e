package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/checkpoint"
)

// writer writes checkpoints of one run.
type writer struct {
	dir   string             // of the run
	model *checkpoint.Config // nil for an architecture that has no config.json
	order []string           // params
	files map[string][]byte  // companions of the weights, such as tokenizer.json
	keep  int
	plain bool
}

// write makes a checkpoint durable, then gives the run folder its weights and
// drops checkpoints that are too many.
func (w *writer) write(ctx context.Context, p progress, s State) error {
	if err := finite(s); err != nil {
		return err
	}
	parent := filepath.Join(w.dir, checkpointsDir)
	target := filepath.Join(parent, stepName(p.Step))
	// Only a checkpoint that turned out damaged can be in the way.
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	out, err := atomicfile.CreateDir(target)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := w.weights(ctx, out.Path(modelDir), s); err != nil {
		return err
	}
	var moments []safetensors.Entry
	for name, t := range s.Moments {
		moments = append(moments, safetensors.EntryOf(name, t))
	}
	if err := safetensors.WriteFile(out.Path(momentsFile), moments, nil); err != nil {
		return err
	}
	if err := writeJSON(out.Path(progressFile), p); err != nil {
		return err
	}
	root := filepath.Dir(out.Path(progressFile))
	m, err := summarize(root)
	if err != nil {
		return err
	}
	if err := writeJSON(out.Path(manifestFile), m); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	if err := w.publish(filepath.Join(target, modelDir)); err != nil {
		return err
	}
	return w.prune(p)
}

// weights writes the Hugging Face folder.
func (w *writer) weights(ctx context.Context, dir string, s State) error {
	if w.model == nil {
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
		var entries []safetensors.Entry
		for _, name := range w.order {
			entries = append(entries, safetensors.EntryOf(name, s.Weights[name]))
		}
		if err := safetensors.WriteFile(filepath.Join(dir, weightsFile), entries, map[string]string{"format": "pt"}); err != nil {
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
	if err := checkpoint.WriteFolder(ctx, m, dir, checkpoint.FolderOptions{Form: checkpoint.Masters, Files: w.files}); err != nil || !w.plain {
		return err
	}
	return dropQuantization(filepath.Join(dir, configFile))
}

// dropQuantization makes config.json that of an unquantized model, as
// transformers understands it.
func dropQuantization(config string) error {
	var keys map[string]any
	if err := readJSON(config, &keys); err != nil {
		return err
	}
	delete(keys, "quantization_config")
	return writeJSON(config, keys)
}

// publish makes the run folder itself open as the newest model. Only the
// weights change during a run, so replacing one file at a time is enough;
// config.json comes last, because it makes a folder a model.
func (w *writer) publish(model string) error {
	entries, err := os.ReadDir(model)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if e.Name() != configFile {
			names = append(names, e.Name())
		}
	}
	if len(names) < len(entries) {
		names = append(names, configFile)
	}
	for _, name := range names {
		from, to := filepath.Join(model, name), filepath.Join(w.dir, name)
		if name == weightsFile {
			if err := linkOver(from, to); err != nil {
				return err
			}
			continue
		}
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

// linkOver gives the file from a second name, replacing an older file there;
// where links are not possible it copies.
func linkOver(from, to string) error {
	tmp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+linkSuffix)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, tmp) == nil {
		if err := os.Rename(tmp, to); err != nil {
			return err
		}
		// Renaming one link over another of the same file does nothing.
		if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := atomicfile.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Commit()
}

// prune removes old checkpoints, and what crashes left behind.
func (w *writer) prune(p progress) error {
	parent := filepath.Join(w.dir, checkpointsDir)
	steps, err := listSteps(parent)
	if err != nil {
		return err
	}
	for i, s := range steps {
		if i < w.keep || p.Best != nil && s == p.Best.Step {
			continue
		}
		if err := os.RemoveAll(filepath.Join(parent, stepName(s))); err != nil {
			return err
		}
	}
	return sweep(parent)
}

// sweep removes what a killed process was writing in a folder of the run.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && (strings.Contains(e.Name(), ".tmp-") || strings.HasSuffix(e.Name(), linkSuffix)) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkSuffix ends the name of a link on its way to its own name.
const linkSuffix = ".link"

// finite refuses weights that no training can go on from.
func finite(s State) error {
	for name, t := range s.Weights {
		for i, v := range t.F32() {
			if v-v != 0 {
				return fmt.Errorf("%s[%d] is %v: not saved", name, i, v)
			}
		}
	}
	return nil
}
