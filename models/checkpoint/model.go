package checkpoint

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/graph"
)

// Model is an open checkpoint. Its methods may be called concurrently. Tensors
// may alias the mapped file: they are read-only, and not to be used after Close.
type Model struct {
	cfg      Config
	specs    []Spec
	byName   map[string]int
	src      source
	format   string
	warnings []string
	vocab    *Vocab
}

// source is a kind of file. Names are Hugging Face's throughout; a source is
// only asked for what the configuration's Specs list.
type source interface {
	// float returns a tensor that is not ternary, dequantised if it was stored
	// in a block format.
	float(s Spec) (graph.Tensor, error)
	// form tells how a projection is stored.
	form(s Spec) Form
	// unpack writes a ternary projection's codes and returns its scale.
	unpack(s Spec, codes []int8) (float32, error)
	// forget drops the pages of a tensor.
	forget(s Spec)
	// stored lists the file's own tensors.
	stored() []Stored
	// file returns a companion file such as tokenizer.json.
	file(name string) ([]byte, error)
	close() error
}

// Stored is a tensor as the file has it, for inspection.
type Stored struct {
	Name  string // the file's own name
	Type  string // the format's own name of the type
	Dims  []int  // outermost first
	Bytes int64
	File  string // empty where the checkpoint is one file
}

func newModel(format string, cfg Config, src source, warnings []string) *Model {
	m := &Model{cfg: cfg, specs: cfg.Specs(), src: src, format: format, warnings: warnings}
	m.byName = make(map[string]int, len(m.specs))
	for i, s := range m.specs {
		m.byName[s.Name] = i
	}
	return m
}

// Config returns the model's configuration.
func (m *Model) Config() Config { return m.cfg }

// Format names the kind of file, such as "safetensors" or "gguf v3".
func (m *Model) Format() string { return m.format }

// Warnings lists what a person should know about this file.
func (m *Model) Warnings() []string { return slices.Clone(m.warnings) }

// Specs lists the model's tensors; see [Config.Specs].
func (m *Model) Specs() []Spec { return slices.Clone(m.specs) }

// Stored lists the tensors of the underlying files under their own names.
func (m *Model) Stored() []Stored { return m.src.stored() }

// Vocab returns the vocabulary of a GGUF file, nil if there is none. Hugging
// Face folders have tokenizer files instead; see [Model.File].
func (m *Model) Vocab() *Vocab { return m.vocab }

// File returns a companion file of a Hugging Face folder by its plain name,
// such as tokenizer.json. The error wraps fs.ErrNotExist if there is none.
func (m *Model) File(name string) ([]byte, error) { return m.src.file(name) }

// Tensor returns a tensor by Hugging Face's name: floats as the file has them,
// masters for a projection in that form, and codes of type graph.Tern (whose
// scale [Model.Linear] tells) for a ternary one.
func (m *Model) Tensor(name string) (graph.Tensor, error) {
	s, err := m.spec(name)
	if err != nil {
		return graph.Tensor{}, err
	}
	if s.Linear && m.src.form(s) == Ternary {
		codes, _, err := Linear{s, Ternary, m.src}.Ternary()
		return codes, err
	}
	return m.float(s)
}

func (m *Model) float(s Spec) (graph.Tensor, error) {
	t, err := m.src.float(s)
	if err != nil {
		return t, fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	return t, nil
}

// Linear returns the ternary projection called name. Nothing is read yet. A
// model with group scales has none: it has masters alone, see [Model.Tensor].
func (m *Model) Linear(name string) (Linear, error) {
	s, err := m.spec(name)
	if err != nil {
		return Linear{}, err
	}
	if !s.Linear {
		return Linear{}, fmt.Errorf("tensor %s is not a ternary projection", name)
	}
	if m.cfg.Group != 0 {
		return Linear{}, fmt.Errorf("tensor %s: %w", name, m.cfg.errGroups("a ternary projection"))
	}
	return Linear{s, m.src.form(s), m.src}, nil
}

// Forget tells the system that the tensor's file pages are not needed soon.
// Call it after packing a tensor, so that file and packed form are not both
// resident. The tensor stays readable.
func (m *Model) Forget(name string) {
	if s, err := m.spec(name); err == nil {
		m.src.forget(s)
	}
}

// Close releases the files.
func (m *Model) Close() error { return m.src.close() }

func (m *Model) spec(name string) (Spec, error) {
	i, ok := m.byName[name]
	if !ok {
		return Spec{}, fmt.Errorf("the model has no tensor %q", name)
	}
	return m.specs[i], nil
}

// Linear is the weight of a ternary projection, [out, in].
type Linear struct {
	Spec
	Form Form
	src  source
}

// Masters returns the float weights; an error if the file has only codes.
func (l Linear) Masters() (graph.Tensor, error) {
	if l.Form != Masters {
		return graph.Tensor{}, fmt.Errorf("tensor %s: the file holds ternary codes, the masters are gone", l.Name)
	}
	t, err := l.src.float(l.Spec)
	if err != nil {
		return t, fmt.Errorf("tensor %s: %w", l.Name, err)
	}
	return t, nil
}

// Ternary returns the codes, of type graph.Tern and shape [out, in], and the
// scale gamma: the effective weight is codes·gamma. Masters are quantised by
// [Absmean].
func (l Linear) Ternary() (codes graph.Tensor, gamma float32, err error) {
	codes = graph.NewTensor(graph.Tern, l.Dims...)
	gamma, err = l.Unpack(codes.I8())
	return codes, gamma, err
}

// Unpack is Ternary into a buffer of out·in codes that the caller reuses.
func (l Linear) Unpack(codes []int8) (gamma float32, err error) {
	if len(codes) != l.Dims[0]*l.Dims[1] {
		return 0, fmt.Errorf("tensor %s: %v does not fit %d codes", l.Name, l.Dims, len(codes))
	}
	if l.Form == Ternary {
		gamma, err = l.src.unpack(l.Spec, codes)
	} else {
		var w graph.Tensor
		if w, err = l.src.float(l.Spec); err == nil {
			gamma, err = Absmean(w, codes)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("tensor %s: %w", l.Name, err)
	}
	return gamma, nil
}
