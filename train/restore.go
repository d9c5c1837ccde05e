package train

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
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
	for _, need := range []string{progressFile, momentsFile, modelDir + "/" + weightsFile} {
		if _, ok := m.Files[need]; !ok {
			return nil, fmt.Errorf("%s: the manifest lacks %s", dir, need)
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
		if got != want {
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

// state reads the tensors.
func (s *saved) state() (State, error) {
	st := State{Steps: s.Step}
	var err error
	if st.Weights, err = readTensors(filepath.Join(s.dir, modelDir, weightsFile)); err != nil {
		return st, fmt.Errorf("train: %w", err)
	}
	if st.Moments, err = readTensors(filepath.Join(s.dir, momentsFile)); err != nil {
		return st, fmt.Errorf("train: %w", err)
	}
	return st, nil
}

func readTensors(path string) (map[string]graph.Tensor, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := map[string]graph.Tensor{}
	for _, info := range f.Tensors {
		t, err := f.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		m[info.Name] = t.Clone()
	}
	return m, nil
}
