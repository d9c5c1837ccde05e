package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/safetensors"
)

// FolderOptions say how WriteFolder writes.
type FolderOptions struct {
	// Form is Masters (online: trainable, needs a source with masters) or
	// Ternary (offline: packed codes and weight_scale).
	Form Form
	// Scale is the type of weight_scale. The default is the model's declared
	// float type where that is exact for every matrix, else F32. Published
	// files use BF16, which rounds the scale to 8 bits.
	Scale graph.DType
	// Float is the type of embedding and head; by default they keep theirs.
	// One that does not hold every value exactly is an error without Rounding.
	Float    graph.DType
	Rounding bool
	// ShardBytes is the most that tensors take in one file; more make several,
	// with an index. 0 writes one file.
	ShardBytes int64
	// Files are companions to write beside config.json, such as
	// tokenizer.json; a name with a nil value is left out.
	Files map[string][]byte
	// Progress, if set, is called after each tensor.
	Progress func(done, total int)
}

// companions are copied from one Hugging Face folder to another.
var companions = []string{
	"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json", "LICENSE",
}

// WriteFolder writes m as a Hugging Face folder that transformers loads. The
// folder appears when it is complete; dir must not exist or be empty. Floats
// keep their type unless the model's declared type holds them exactly.
func WriteFolder(ctx context.Context, m *Model, dir string, o FolderOptions) error {
	cfg := m.Config()
	if o.Form == Masters && cfg.Form == Ternary {
		return fmt.Errorf("write %s: %w", dir, errMastersGone)
	}
	if cfg.Float && o.Form == Ternary {
		return fmt.Errorf("write %s: a model without quantization has no ternary form; train one from it with trit train --init", dir)
	}
	if cfg.Group != 0 && o.Form == Ternary {
		return fmt.Errorf("write %s: %w", dir, cfg.errGroups("form offline"))
	}
	cfg.Form = o.Form
	text, err := cfg.encode()
	if err != nil {
		return err
	}
	files := make(map[string][]byte)
	for _, name := range companions {
		if data, err := m.File(name); err == nil {
			files[name] = data
		}
	}
	for name, data := range o.Files {
		if !filepath.IsLocal(name) || name != filepath.Base(name) || name == "." || strings.HasSuffix(name, ".safetensors") || name == indexName {
			return fmt.Errorf("write %s: %q cannot be the name of a companion file", dir, name)
		}
		files[name] = data
	}
	files["config.json"] = text

	out, err := atomicfile.CreateDir(dir)
	if err != nil {
		return err
	}
	defer out.Close()
	entries, err := folderEntries(ctx, m, o)
	if err != nil {
		return err
	}
	if err := safetensors.WriteShards(out.Path("."), weightsStem, entries, map[string]string{"format": "pt"}, o.ShardBytes); err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if files[name] == nil {
			continue
		}
		if err := atomicfile.WriteFile(out.Path(name), files[name]); err != nil {
			return err
		}
	}
	return out.Commit()
}

// folderEntries describes the tensors of the safetensors file. Scales are
// needed before their matrices are written (they come first in the file), so
// masters are quantised twice rather than all codes kept.
func folderEntries(ctx context.Context, m *Model, o FolderOptions) ([]safetensors.Entry, error) {
	w := &folderWriter{ctx: ctx, m: m, o: o, total: len(m.specs)}
	var entries []safetensors.Entry
	for _, s := range m.specs {
		if s.Linear && o.Form == Ternary {
			continue
		}
		t, err := m.Tensor(s.Name)
		if err != nil {
			return nil, err
		}
		elem := t.Elem
		if len(s.Dims) == 2 && !s.Linear && o.Float != graph.InvalidDType {
			if err := canRound(t, o.Float, o.Rounding); err != nil {
				return nil, fmt.Errorf("tensor %s: %w", s.Name, err)
			}
			elem = o.Float
		} else if _, ok := Narrow(t, m.cfg.Elem); ok {
			elem = m.cfg.Elem
		} else if elem == graph.F64 {
			elem = graph.F32
		}
		m.Forget(s.Name)
		entries = append(entries, safetensors.Entry{Name: s.Name, Elem: elem, Dims: s.Dims, Load: func() (graph.Tensor, error) {
			t, err := m.Tensor(s.Name)
			if err != nil {
				return t, err
			}
			return Round(t, elem), w.step(s)
		}})
	}
	if o.Form == Masters {
		return entries, nil
	}
	packed, err := w.packed()
	return append(entries, packed...), err
}

type folderWriter struct {
	ctx         context.Context
	m           *Model
	o           FolderOptions
	done, total int
	codes       []int8
	last        string
}

// step notes that a tensor was produced. The one before it has been written by
// then, so its pages can go.
func (w *folderWriter) step(s Spec) error {
	w.done++
	w.m.Forget(w.last)
	w.last = s.Name
	if w.o.Progress != nil {
		w.o.Progress(w.done, w.total)
	}
	return w.ctx.Err()
}

// unpack reads a projection into the one buffer that all share.
func (w *folderWriter) unpack(s Spec) ([]int8, float32, error) {
	n := s.Dims[0] * s.Dims[1]
	if cap(w.codes) < n {
		w.codes = make([]int8, n)
	}
	l, err := w.m.Linear(s.Name)
	if err != nil {
		return nil, 0, err
	}
	gamma, err := l.Unpack(w.codes[:n])
	return w.codes[:n], gamma, err
}

func (w *folderWriter) packed() ([]safetensors.Entry, error) {
	var entries []safetensors.Entry
	gammas := make(map[string]float32)
	for _, s := range w.m.specs {
		if !s.Linear {
			continue
		}
		if s.Dims[0]%4 != 0 {
			return nil, fmt.Errorf("tensor %s: %d rows cannot be packed in fours; write masters or GGUF", s.Name, s.Dims[0])
		}
		_, gamma, err := w.unpack(s)
		if err != nil {
			return nil, err
		}
		w.m.Forget(s.Name)
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		gammas[s.Name] = gamma
		entries = append(entries, safetensors.Entry{
			Name: s.Name, Elem: graph.U8, Dims: []int{s.Dims[0] / 4, s.Dims[1]},
			Load: func() (graph.Tensor, error) {
				codes, _, err := w.unpack(s)
				if err != nil {
					return graph.Tensor{}, err
				}
				t := graph.NewTensor(graph.U8, s.Dims[0]/4, s.Dims[1])
				if err := packHF(t.Data, codes, s.Dims[0], s.Dims[1]); err != nil {
					return t, err
				}
				return t, w.step(s)
			},
		})
	}
	elem := w.o.Scale
	if elem == graph.InvalidDType {
		elem = w.m.cfg.Elem
		for _, g := range gammas {
			if _, ok := Narrow(graph.FromF32([]float32{g}, 1), elem); !ok {
				elem = graph.F32
			}
		}
	}
	for name, g := range gammas {
		entries = append(entries, safetensors.EntryOf(name+"_scale", Round(graph.FromF32([]float32{g}, 1), elem)))
	}
	return entries, nil
}
