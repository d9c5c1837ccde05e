package checkpoint

import (
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// Replace returns a model that takes some tensors from entries and everything else,
// companion files included, from m, which must stay open; closing it closes m.
// A projection keeps its form: masters are replaced by floats, codes by codes.
func Replace(m *Model, entries []Entry) (*Model, error) {
	by := make(memorySource, len(entries))
	for _, e := range entries {
		s, err := m.spec(e.Name)
		if err != nil {
			return nil, err
		}
		ternary := s.Linear && m.src.form(s) == Ternary
		if ternary != (e.Elem == graph.Tern) || !ternary && !e.Elem.IsFloat() {
			return nil, fmt.Errorf("tensor %s: %v does not replace a projection of %v", s.Name, e.Elem, m.src.form(s))
		}
		if ternary && !(e.Gamma >= 0 && e.Gamma <= math.MaxFloat32) {
			return nil, fmt.Errorf("tensor %s: scale %v is not finite and positive", s.Name, e.Gamma)
		}
		by[e.Name] = e
	}
	out := *m
	out.src = replacedSource{m.src, by}
	return &out, nil
}

// replacedSource has some tensors in memory and the others in a file.
type replacedSource struct {
	source
	by memorySource
}

func (r replacedSource) float(s Spec) (graph.Tensor, error) {
	if _, ok := r.by[s.Name]; ok {
		return r.by.float(s)
	}
	return r.source.float(s)
}

func (r replacedSource) unpack(s Spec, codes []int8) (float32, error) {
	if _, ok := r.by[s.Name]; ok {
		return r.by.unpack(s, codes)
	}
	return r.source.unpack(s, codes)
}
