package train

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/adapter"
)

// saved is a checkpoint on disk.
type saved struct {
	dir string
	progress
}

// openSaved checks a checkpoint against its manifest.
func openSaved(dir string) (*saved, error) {
	var m manifest
	if err := readJSON(filepath.Join(dir, manifestFile), &m); err != nil {
		return nil, err
	}
	if _, ok := m.Files[progressFile]; !ok {
		return nil, fmt.Errorf("%s: the manifest lacks %s", dir, progressFile)
	}
	for _, set := range []struct{ dir, stem string }{{modelDir, stemIn(filepath.Join(dir, modelDir))}, {".", momentsStem}} {
		files, err := safetensors.Files(filepath.Join(dir, set.dir), set.stem)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if _, ok := m.Files[path.Join(set.dir, f)]; !ok {
				return nil, fmt.Errorf("%s: the manifest lacks %s", dir, f)
			}
		}
	}
	for name, want := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, fmt.Errorf("%s: the manifest names %q", dir, name)
		}
		got, err := sumFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		if got.Bytes != want.Bytes || got.SHA256 != want.SHA256 {
			return nil, fmt.Errorf("%s: %s is damaged: its hash differs from the manifest's", dir, name)
		}
	}
	s := &saved{dir: dir}
	if err := readJSON(filepath.Join(dir, progressFile), &s.progress); err != nil {
		return nil, err
	}
	if s.Format != progressFormat {
		return nil, fmt.Errorf("%s: format %d, this version reads %d", dir, s.Format, progressFormat)
	}
	return s, nil
}

// SavedConfig returns the configuration of the run in dir, as its newest
// checkpoint holds it: without Device, Declare and Model.
func SavedConfig(dir string) (Config, error) {
	s, _, err := newest(dir)
	if err != nil {
		return Config{}, err
	}
	return s.Config, nil
}

// newest returns the newest undamaged checkpoint of a run, and why newer ones
// were passed over.
func newest(dir string) (s *saved, damaged []error, err error) {
	parent := filepath.Join(dir, checkpointsDir)
	steps, err := listSteps(parent)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	for _, n := range steps {
		s, err := openSaved(filepath.Join(parent, stepName(n)))
		if err == nil {
			return s, damaged, nil
		}
		damaged = append(damaged, err)
	}
	return nil, damaged, fmt.Errorf("train: %s holds no checkpoint to resume from: %w", dir, errors.Join(append(damaged, fs.ErrNotExist)...))
}

// bestSteps orders the given checkpoints of a run by their own validation, the
// best first, without those that were not validated.
func bestSteps(run string, steps []int) []int {
	loss := map[int]float64{}
	var best []int
	for _, step := range steps {
		var p progress
		err := readJSON(filepath.Join(run, checkpointsDir, stepName(step), progressFile), &p)
		if err == nil && p.Last != nil && p.Last.Step == step {
			loss[step] = p.Last.Loss
			best = append(best, step)
		}
	}
	slices.SortStableFunc(best, func(a, b int) int { return cmp.Or(cmp.Compare(loss[a], loss[b]), cmp.Compare(a, b)) })
	return best
}

// state reads the tensors; with parts above 1, part of each of the optimizer's
// (see State.Parts). It does not matter how many processes wrote them.
func (s *saved) state(part, parts int) (State, error) {
	st := State{Steps: s.Step, Part: part, Parts: parts}
	var err error
	if st.Weights, err = readWeights(filepath.Join(s.dir, modelDir)); err != nil {
		return st, fmt.Errorf("train: %w", err)
	}
	stored, err := readTensors(s.dir, momentsStem, nil)
	if err == nil {
		st.Moments, err = joinPieces(stored, st.Weights)
	}
	if err != nil {
		return st, fmt.Errorf("train: %s: %w", s.dir, err)
	}
	if parts > 1 {
		cutMoments(st)
	}
	return st, nil
}

// stats reads what the meter remembered, nil if nothing.
func (s *saved) stats() (map[string]graph.Tensor, error) {
	m := map[string]graph.Tensor{}
	err := readFile(filepath.Join(s.dir, statsFile), nil, m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	return m, nil
}

// stemIn is the stem of the files that hold a folder's weights.
func stemIn(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, adapter.ConfigFile)); err == nil {
		return adapter.Stem
	}
	return weightsStem
}

// readWeights reads the weights, or the adapters, of a model's folder.
func readWeights(dir string) (map[string]graph.Tensor, error) {
	if stemIn(dir) == weightsStem {
		return readTensors(dir, weightsStem, nil)
	}
	a, err := adapter.Open(dir)
	if err != nil {
		return nil, err
	}
	return a.Tensors, nil
}

// readTensors reads a file, or shards with an index; want, if not nil, chooses
// by name.
func readTensors(dir, stem string, want func(name string) bool) (map[string]graph.Tensor, error) {
	files, err := safetensors.Files(dir, stem)
	if err != nil {
		return nil, err
	}
	m := map[string]graph.Tensor{}
	for _, name := range files {
		if err := readFile(filepath.Join(dir, name), want, m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func readFile(path string, want func(name string) bool, into map[string]graph.Tensor) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, info := range f.Tensors {
		if want != nil && !want(info.Name) {
			continue
		}
		if _, dup := into[info.Name]; dup {
			return fmt.Errorf("%s: tensor %q is in another shard too", path, info.Name)
		}
		t, err := f.Tensor(info.Name)
		if err != nil {
			return err
		}
		into[info.Name] = t.Clone()
	}
	return nil
}
