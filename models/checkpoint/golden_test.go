package checkpoint

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
)

// published lists the reference models' folders.
func published(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(golden.Dir(t), "pub_*"))
	if err != nil || len(dirs) != 4 {
		t.Fatalf("reference models: %v, %v", dirs, err)
	}
	return dirs
}

func open(t *testing.T, path string, opts ...Option) *Model {
	t.Helper()
	m, err := Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// maxUlps bounds the distance of a scale from the reference, which sums the
// mean in float32 in an order that depends on the machine: one step in the mean
// and two roundings of reciprocals.
const maxUlps = 2

// ulps is the distance between two positive floats in steps.
func ulps(a, b float32) int {
	return int(math.Abs(float64(int64(math.Float32bits(a)) - int64(math.Float32bits(b)))))
}

func TestQuantiserAgainstReference(t *testing.T) {
	f, err := safetensors.Open(golden.Path(t, "units.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []string{"rand", "halves", "const", "one", "tiny", "zeros"} {
		w, err := f.Tensor("wq." + c + ".w")
		if err != nil {
			t.Fatal(err)
		}
		want, _ := f.Tensor("wq." + c + ".codes")
		gamma, _ := f.Tensor("wq." + c + ".gamma")
		got := make([]int8, w.Len())
		g, err := Absmean(w, got)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want.I8()) {
			t.Errorf("%s: codes differ", c)
		}
		if ulps(g, gamma.F32()[0]) > maxUlps {
			t.Errorf("%s: gamma %v, want %v", c, g, gamma.F32()[0])
		}
	}
	codes, _ := f.Tensor("pack.codes")
	packed, _ := f.Tensor("pack.bytes")
	out := make([]byte, len(packed.Data))
	if err := packHF(out, codes.I8(), codes.Dims[0], codes.Dims[1]); err != nil || !bytes.Equal(out, packed.Data) {
		t.Errorf("packing differs: %v", err)
	}
	back := make([]int8, codes.Len())
	if err := unpackHF(back, packed.Data, codes.Dims[0], codes.Dims[1]); err != nil || !slices.Equal(back, codes.I8()) {
		t.Errorf("unpacking differs: %v", err)
	}
}

// All forms of a model give the codes that the reference packed, and scales
// that differ by no more than the file's rounding of them.
func TestFormsOfPublishedModelsAgree(t *testing.T) {
	for _, dir := range published(t) {
		on, off := open(t, filepath.Join(dir, "online")), open(t, filepath.Join(dir, "offline"))
		forms := map[string]*Model{"online": on, "offline": off}
		if strings.HasSuffix(dir, "f32") {
			forms["divide"] = open(t, filepath.Join(dir, "offline_bitlinear_divide"))
		}
		if on.Config().Form != Masters || off.Config().Form != Ternary {
			t.Errorf("%s: forms %v, %v", dir, on.Config().Form, off.Config().Form)
		}
		for name, m := range forms {
			if w := m.Warnings(); len(w) > 0 {
				t.Errorf("%s %s: %v", dir, name, w)
			}
			if diff := cmp.Diff(off.Config(), m.Config(), cmpopts.IgnoreFields(Config{}, "Form")); diff != "" {
				t.Errorf("%s %s: configuration %s", dir, name, diff)
			}
			for _, s := range m.Specs() {
				if !s.Linear {
					a, err := m.Tensor(s.Name)
					if err != nil {
						t.Fatal(err)
					}
					b, _ := off.Tensor(s.Name)
					if !bytes.Equal(a.Data, b.Data) || !slices.Equal(a.Dims, s.Dims) {
						t.Errorf("%s %s: %s differs", dir, name, s.Name)
					}
					continue
				}
				codes, gamma := ternaryOf(t, m, s.Name)
				want, ref := ternaryOf(t, off, s.Name)
				if !slices.Equal(codes.I8(), want.I8()) {
					t.Errorf("%s %s: codes of %s differ", dir, name, s.Name)
				}
				rounded := Round(graph.FromF32([]float32{gamma}, 1), off.Config().Elem)
				if off.Config().Elem == graph.BF16 && float32(rounded.FloatAt(0)) != ref || ulps(float32(rounded.FloatAt(0)), ref) > maxUlps {
					t.Errorf("%s %s: scale of %s is %v, reference %v", dir, name, s.Name, gamma, ref)
				}
			}
		}
	}
}

func ternaryOf(t *testing.T, m *Model, name string) (graph.Tensor, float32) {
	t.Helper()
	l, err := m.Linear(name)
	if err != nil {
		t.Fatal(err)
	}
	codes, gamma, err := l.Ternary()
	if err != nil {
		t.Fatal(err)
	}
	return codes, gamma
}

// Writing a published model online or offline gives the reference's own file,
// byte for byte; scales in F32 may differ by maxUlps.
func TestWriteFolderEqualsReference(t *testing.T) {
	ctx := context.Background()
	for _, dir := range published(t) {
		on := open(t, filepath.Join(dir, "online"))
		elem := on.Config().Elem
		for _, c := range []struct {
			name string
			o    FolderOptions
		}{
			{"online", FolderOptions{Form: Masters}},
			{"offline", FolderOptions{Form: Ternary, Scale: elem}},
		} {
			out := filepath.Join(t.TempDir(), "model")
			steps := 0
			c.o.Progress = func(done, total int) { steps = total - done }
			c.o.Files = map[string][]byte{"tokenizer.json": []byte("{}")}
			if err := WriteFolder(ctx, on, out, c.o); err != nil {
				t.Fatal(err)
			}
			if steps != 0 {
				t.Errorf("%s %s: progress ended %d short", dir, c.name, steps)
			}
			sameTensors(t, filepath.Join(dir, c.name, "model.safetensors"), filepath.Join(out, "model.safetensors"))
			m, ref := open(t, out), open(t, filepath.Join(dir, c.name))
			if diff := cmp.Diff(ref.Config(), m.Config()); diff != "" {
				t.Errorf("%s %s: configuration %s", dir, c.name, diff)
			}
			if data, err := m.File("tokenizer.json"); err != nil || string(data) != "{}" {
				t.Errorf("companion: %q, %v", data, err)
			}
		}
		off := open(t, filepath.Join(dir, "offline"))
		if err := WriteFolder(ctx, off, filepath.Join(t.TempDir(), "x"), FolderOptions{Form: Masters}); err == nil {
			t.Error("masters were written from codes")
		}
	}
}

func sameTensors(t *testing.T, want, got string) {
	t.Helper()
	a, err := safetensors.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := safetensors.Open(got)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if diff := cmp.Diff(a.Tensors, b.Tensors, cmpopts.IgnoreFields(safetensors.Info{}, "Offset")); diff != "" {
		t.Errorf("%s: %s", got, diff)
		return
	}
	for _, info := range a.Tensors {
		x, _ := a.Tensor(info.Name)
		y, _ := b.Tensor(info.Name)
		near := info.Elem == graph.F32 && strings.HasSuffix(info.Name, "_scale") && ulps(x.F32()[0], y.F32()[0]) <= maxUlps
		if !near && !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s: %s differs", want, info.Name)
		}
	}
}

func TestConcurrentReaders(t *testing.T) {
	m := open(t, filepath.Join(published(t)[3], "offline"))
	want, gamma := ternaryOf(t, m, "model.layers.0.mlp.up_proj.weight")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, s := range m.Specs() {
				if x, err := m.Tensor(s.Name); err != nil || !slices.Equal(x.Dims, s.Dims) {
					t.Errorf("%s: %v", s.Name, err)
				}
				m.Forget(s.Name)
			}
			l, err := m.Linear("model.layers.0.mlp.up_proj.weight")
			if err != nil {
				t.Error(err)
				return
			}
			if got, g, err := l.Ternary(); err != nil || g != gamma || !slices.Equal(got.I8(), want.I8()) {
				t.Errorf("codes differ between readers: %v", err)
			}
		})
	}
	wg.Wait()
}
