package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// Entry is a tensor of a model that does not come from a file: one in
// training, or one being generated. Load is called whenever the tensor is
// wanted, so that a large model need not be in memory at once; it must return
// equal tensors every time and be safe for concurrent use.
type Entry struct {
	Name string      // Hugging Face's name
	Elem graph.DType // a float type, or graph.Tern for a ternary projection
	// Gamma is the scale of a ternary projection.
	Gamma float32
	Load  func() (graph.Tensor, error)
}

// EntryOf is an Entry for a tensor that is in memory already.
func EntryOf(name string, t graph.Tensor, gamma float32) Entry {
	return Entry{name, t.Elem, gamma, func() (graph.Tensor, error) { return t, nil }}
}

// New makes a model from tensors. There must be exactly those that
// cfg.Specs lists.
func New(cfg Config, entries []Entry) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	src := make(memorySource, len(entries))
	for _, e := range entries {
		if _, dup := src[e.Name]; dup {
			return nil, fmt.Errorf("tensor %s is given twice", e.Name)
		}
		src[e.Name] = e
	}
	m := newModel("memory", cfg, src, nil)
	for _, s := range m.specs {
		e, ok := src[s.Name]
		switch {
		case !ok:
			return nil, fmt.Errorf("tensor %s is missing", s.Name)
		case e.Elem == graph.Tern && s.Linear && cfg.Form == Ternary:
			if !(e.Gamma >= 0 && e.Gamma <= math.MaxFloat32) {
				return nil, fmt.Errorf("tensor %s: scale %v is not finite and positive", s.Name, e.Gamma)
			}
		case s.Linear && cfg.Form == Ternary || !e.Elem.IsFloat():
			return nil, fmt.Errorf("tensor %s: %v does not fit a model of %v", s.Name, e.Elem, cfg.Form)
		}
	}
	if len(entries) != len(m.specs) {
		return nil, fmt.Errorf("%d tensors given, the model has %d", len(entries), len(m.specs))
	}
	return m, nil
}

type memorySource map[string]Entry

func (m memorySource) load(s Spec) (graph.Tensor, error) {
	e := m[s.Name]
	t, err := e.Load()
	if err != nil {
		return t, err
	}
	if n, _ := graph.Count(s.Dims); t.Elem != e.Elem || !slices.Equal(t.Dims, s.Dims) || t.Len() != n {
		return t, fmt.Errorf("announced as %v%v, loaded as %v%v", e.Elem, s.Dims, t.Elem, t.Dims)
	}
	return t, nil
}

func (m memorySource) float(s Spec) (graph.Tensor, error) { return m.load(s) }

func (m memorySource) form(s Spec) Form {
	if m[s.Name].Elem == graph.Tern {
		return Ternary
	}
	return Masters
}

func (m memorySource) unpack(s Spec, codes []int8) (float32, error) {
	t, err := m.load(s)
	if err != nil {
		return 0, err
	}
	for i, c := range t.I8() {
		if c < -1 || c > 1 {
			return 0, fmt.Errorf("code %d at %d is not -1, 0 or 1", c, i)
		}
	}
	copy(codes, t.I8())
	return m[s.Name].Gamma, nil
}

func (m memorySource) forget(Spec) {}

func (m memorySource) stored() []Stored { return nil }

func (m memorySource) file(name string) ([]byte, error) {
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

func (m memorySource) close() error { return nil }

var errMastersGone = errors.New("the source holds ternary codes, its masters are gone; write an offline form")
