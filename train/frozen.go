package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// frozen supplies params of models that are not trained, by the prefix of their
// names: "" and "teacher.". Ternary projections come as codes times scale, in f32,
// whether the file has codes or masters.
type frozen map[string]*checkpoint.Model

func (f frozen) find(param string) (m *checkpoint.Model, name string, err error) {
	prefix := ""
	if strings.HasPrefix(param, teacherPrefix) {
		prefix = teacherPrefix
	}
	if m = f[prefix]; m == nil {
		return nil, "", fmt.Errorf("%q: %w", param, runtime.ErrMissing)
	}
	return m, param[len(prefix):], nil
}

// Tensor implements runtime.Source.
func (f frozen) Tensor(ctx context.Context, param string) (graph.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return graph.Tensor{}, err
	}
	m, name, err := f.find(param)
	if err != nil {
		return graph.Tensor{}, err
	}
	return dequantized(m, name)
}

// dequantized is a tensor as the model computes with it, in f32.
func dequantized(m *checkpoint.Model, name string) (graph.Tensor, error) {
	if !ternaryProjection(m, name) {
		t, err := m.Tensor(name)
		if err != nil {
			return t, err
		}
		return t.ToF32()
	}
	l, err := m.Linear(name)
	if err != nil {
		return graph.Tensor{}, err
	}
	codes, gamma, err := l.Ternary()
	if err != nil {
		return codes, err
	}
	t := graph.NewTensor(graph.F32, codes.Dims...)
	for i, c := range codes.I8() {
		t.F32()[i] = float32(c) * gamma
	}
	return t, nil
}

// ternaryProjection reports whether a tensor is a projection with one scale.
// Those with a scale for each group have masters, and are quantized in the graph.
func ternaryProjection(m *checkpoint.Model, name string) bool {
	if c := m.Config(); c.Float || c.Group != 0 {
		return false
	}
	_, err := m.Linear(name)
	return err == nil
}

// form tells what the weight of a projection holds.
func (f frozen) form(param string) passes.Frozen {
	m, name, err := f.find(param)
	switch {
	case err != nil, m.Config().Group != 0:
		return passes.Live
	case ternaryProjection(m, name):
		return passes.Dequantized
	}
	return passes.Float
}

func (f frozen) close() error {
	var errs []error
	for _, m := range f {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// digest identifies a model's weights: a run that continues beside others would
// not be the same run.
func digest(ctx context.Context, m *checkpoint.Model) (string, error) {
	h := sha256.New()
	for _, s := range m.Specs() {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		t, err := m.Tensor(s.Name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s\n", s.Name, t.Type())
		h.Write(t.Data)
		if t.Elem == graph.Tern {
			l, err := m.Linear(s.Name)
			if err == nil {
				_, gamma, err := l.Ternary()
				fmt.Fprintf(h, "%x %v\n", gamma, err)
			}
		}
		m.Forget(s.Name)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
