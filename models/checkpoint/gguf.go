package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/gguf"
)

// ggufSource is a GGUF file.
type ggufSource struct {
	path    string
	blob    blob
	content *gguf.File
	order   I2SOrder
	kept    Form
}

func openGGUF(dir folder, name string, opts []Option) (*Model, error) {
	b, err := dir.open(name)
	if err != nil {
		return nil, err
	}
	m, err := parseGGUF(dir.path(name), b, apply(opts))
	if err != nil {
		b.close()
		return nil, fmt.Errorf("%s: %w", dir.path(name), err)
	}
	return m, nil
}

func parseGGUF(path string, b blob, o options) (*Model, error) {
	f, err := gguf.Parse(b.data)
	if err != nil {
		return nil, err
	}
	g := &ggufSource{path: path, blob: b, content: f, order: o.order}
	if err := checkTypes(f.Header); err != nil {
		return nil, err
	}
	cfg, warnings, err := ggufConfig(f.Header)
	if err != nil {
		return nil, err
	}
	more, err := g.check(&cfg)
	if err != nil {
		return nil, err
	}
	m := newModel(fmt.Sprintf("gguf v%d", f.Version), cfg, g, append(warnings, more...))
	if m.vocab, err = ggufVocab(f.Header); err != nil {
		return nil, err
	}
	return m, nil
}

// check demands that every tensor of the model is there, and settles the form
// of the projections and the order of I2_S.
func (g *ggufSource) check(c *Config) (warnings []string, err error) {
	known := make(map[string]bool)
	var errs []error
	forms := make(map[Form]string)
	for _, s := range c.Specs() {
		name := ggufName(s.Name)
		known[name] = true
		t, ok := g.content.Tensor(name)
		if !ok {
			errs = append(errs, fmt.Errorf("tensor %s is missing", name))
			continue
		}
		if !sameShape(t.Dims, s.Dims) {
			errs = append(errs, fmt.Errorf("tensor %s has shape %v, the metadata imply %v", name, t.Dims, s.Dims))
			continue
		}
		if !s.Linear {
			if t.Type == gguf.I2_S {
				errs = append(errs, fmt.Errorf("tensor %s is I2_S, but must be float", name))
			}
			continue
		}
		known[scaleName(name)] = true
		form, err := g.checkLinear(t)
		if err != nil {
			errs = append(errs, fmt.Errorf("tensor %s: %w", name, err))
			continue
		}
		forms[form] = name
	}
	if len(errs) > 8 {
		errs = append(errs[:8], fmt.Errorf("and %d more", len(errs)-8))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(forms) > 1 {
		return nil, fmt.Errorf("tensor %s is ternary, %s is not; a model has its projections in one form", forms[Ternary], forms[Masters])
	}
	if _, masters := forms[Masters]; masters {
		c.Form = Masters
		warnings = append(warnings, "the projections are floats that are not ternary; they are taken as BitNet masters and quantised on load")
	}
	g.kept = c.Form
	if more, err := g.checkRest(known); err != nil {
		return nil, err
	} else {
		warnings = append(warnings, more...)
	}
	note, err := g.settleOrder(c)
	if note != "" {
		warnings = append(warnings, note)
	}
	return warnings, err
}

// sameShape compares shapes up to leading ones, which writers add to vectors.
func sameShape(got, want []int) bool {
	for len(got) > len(want) && got[0] == 1 {
		got = got[1:]
	}
	return slices.Equal(got, want)
}

// checkRest judges tensors that are not part of the model.
func (g *ggufSource) checkRest(known map[string]bool) (warnings []string, err error) {
	extra := 0
	for _, t := range g.content.Tensors {
		switch {
		case known[t.Name]:
		case strings.HasSuffix(t.Name, ".bias"):
			return nil, fmt.Errorf("tensor %s: biases are not supported", t.Name)
		case strings.HasSuffix(t.Name, "rope_freqs.weight"):
			if err := g.checkRopeFreqs(t); err != nil {
				return nil, err
			}
		default:
			extra++
		}
	}
	if extra > 0 {
		warnings = append(warnings, fmt.Sprintf("%d tensors of the file are not part of the model and ignored", extra))
	}
	return warnings, nil
}

// checkRopeFreqs accepts frequency factors that change nothing.
func (g *ggufSource) checkRopeFreqs(t gguf.Tensor) error {
	x, err := g.decode(t)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	for _, v := range x.F32() {
		if v != 1 {
			return fmt.Errorf("tensor %s scales the rotary frequencies; that is not supported", t.Name)
		}
	}
	return nil
}

// sampled is how many values of a float projection decide whether it is
// ternary; unpack then checks all of them.
const sampled = 4096

// checkLinear tells a projection's form without reading all of it.
func (g *ggufSource) checkLinear(t gguf.Tensor) (Form, error) {
	switch t.Type {
	case gguf.I2_S:
		raw, err := g.content.Bytes(t)
		if err == nil {
			_, err = gguf.ScaleI2S(raw)
		}
		return Ternary, err
	case gguf.TQ1_0, gguf.TQ2_0:
		return Ternary, nil
	}
	rows := min(t.Dims[0], max(1, sampled/t.Dims[1]))
	part := t
	part.Dims = []int{rows, t.Dims[1]}
	part.Size = t.Size / int64(t.Dims[0]) * int64(rows)
	x, err := g.decode(part)
	if err != nil {
		return Masters, err
	}
	if _, err := ternaryFloats(x.F32(), nil, 0); err == nil {
		return Ternary, nil
	}
	if t.Type != gguf.F32 && t.Type != gguf.F16 && t.Type != gguf.BF16 {
		return Masters, fmt.Errorf("is %s, and its values are not ternary; quantising them again would give another model", t.Type)
	}
	return Masters, nil
}

// ternaryFloats writes the codes of values that are all -gamma, 0 or gamma,
// and returns gamma. gamma may be known from earlier values; codes may be nil.
func ternaryFloats(x []float32, codes []int8, gamma float32) (float32, error) {
	for i, v := range x {
		var c int8
		switch a := max(v, -v); {
		case a == 0:
		case !(a <= math.MaxFloat32):
			return 0, errors.New("values are not finite")
		case gamma != 0 && a != gamma:
			return 0, fmt.Errorf("values of magnitude %v and %v; a ternary weight has one", gamma, a)
		default:
			gamma, c = a, 1
			if v < 0 {
				c = -1
			}
		}
		if codes != nil {
			codes[i] = c
		}
	}
	return gamma, nil
}

// decode returns a tensor's values as f32.
func (g *ggufSource) decode(t gguf.Tensor) (graph.Tensor, error) {
	raw, err := g.content.Bytes(t)
	if err != nil {
		return graph.Tensor{}, err
	}
	out := graph.NewTensor(graph.F32, t.Dims...)
	return out, gguf.Decode(t.Type, out.F32(), raw)
}

var plainFloats = map[gguf.Type]graph.DType{gguf.F32: graph.F32, gguf.F16: graph.F16, gguf.BF16: graph.BF16}

func (g *ggufSource) float(s Spec) (graph.Tensor, error) {
	t, err := g.tensor(s)
	if err != nil {
		return graph.Tensor{}, err
	}
	if elem, ok := plainFloats[t.Type]; ok {
		raw, err := g.content.Bytes(t)
		if err != nil {
			return graph.Tensor{}, err
		}
		return graph.NewTensorFrom(elem, raw, s.Dims...)
	}
	t.Dims = s.Dims
	return g.decode(t)
}

func (g *ggufSource) tensor(s Spec) (gguf.Tensor, error) {
	t, ok := g.content.Tensor(ggufName(s.Name))
	if !ok {
		return t, fmt.Errorf("%s is missing from the file", ggufName(s.Name))
	}
	return t, nil
}

func (g *ggufSource) form(Spec) Form { return g.kept }

func (g *ggufSource) unpack(s Spec, codes []int8) (float32, error) {
	t, err := g.tensor(s)
	if err != nil {
		return 0, err
	}
	raw, err := g.content.Bytes(t)
	if err != nil {
		return 0, err
	}
	var gamma float32
	switch t.Type {
	case gguf.I2_S:
		gamma, err = gguf.UnpackI2S(codes, raw, gguf.Order(g.order), s.Dims[1])
	case gguf.TQ1_0, gguf.TQ2_0:
		gamma, err = gguf.UnpackTQ(t.Type, codes, raw)
	default:
		gamma, err = g.unpackFloats(t, codes)
	}
	if err != nil {
		return 0, err
	}
	return g.applyScale(t.Name, gamma)
}

// unpackFloats reads ternary values stored as floats, a row at a time.
func (g *ggufSource) unpackFloats(t gguf.Tensor, codes []int8) (gamma float32, err error) {
	row := t
	row.Dims = []int{1, t.Dims[1]}
	row.Size = t.Size / int64(t.Dims[0])
	for r := range t.Dims[0] {
		row.Offset = t.Offset + int64(r)*row.Size
		x, err := g.decode(row)
		if err != nil {
			return 0, err
		}
		if gamma, err = ternaryFloats(x.F32(), codes[r*t.Dims[1]:(r+1)*t.Dims[1]], gamma); err != nil {
			return 0, fmt.Errorf("row %d: %w", r, err)
		}
	}
	return gamma, nil
}

// scaleName is the tensor that older files multiply onto a projection's
// product, such as blk.0.attn_q.scale.
func scaleName(name string) string { return strings.TrimSuffix(name, ".weight") + ".scale" }

func (g *ggufSource) applyScale(name string, gamma float32) (float32, error) {
	t, ok := g.content.Tensor(scaleName(name))
	if !ok {
		return gamma, nil
	}
	x, err := g.decode(t)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.Name, err)
	}
	if x.Len() != 1 || !(x.F32()[0] >= 0 && x.F32()[0] <= math.MaxFloat32) {
		return 0, fmt.Errorf("%s: want one finite scale that is not negative", t.Name)
	}
	return gamma * x.F32()[0], nil
}

func (g *ggufSource) forget(s Spec) {
	if t, err := g.tensor(s); err == nil {
		if raw, err := g.content.Bytes(t); err == nil {
			g.blob.forget(raw)
		}
	}
}

func (g *ggufSource) stored() []Stored {
	var out []Stored
	for _, t := range g.content.Tensors {
		out = append(out, Stored{Name: t.Name, Type: t.Type.String(), Dims: slices.Clone(t.Dims), Bytes: t.Size})
	}
	return out
}

func (g *ggufSource) file(name string) ([]byte, error) {
	return nil, fmt.Errorf("%s: a GGUF file has no %s: %w", g.path, name, fs.ErrNotExist)
}

func (g *ggufSource) close() error { return g.blob.close() }
