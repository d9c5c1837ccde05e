package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trit-ml/trit/graph"
)

// Every published model survives every lossless form of GGUF: offline -> GGUF
// -> offline gives the first file's bytes, where the scale's type is kept.
func TestRoundTripThroughGGUF(t *testing.T) {
	ctx := context.Background()
	vocab := &Vocab{
		Model: "gpt2", Pre: "llama-bpe", Tokens: []string{"a", "b", "ab"}, Types: []int32{1, 1, 1}, Merges: []string{"a b"},
		BOS: 0, EOS: 1, EOT: -1, Unknown: -1, Pad: -1, AddBOS: new(bool), ChatTemplate: "{{ messages }}",
	}
	for _, dir := range published(t) {
		off := open(t, filepath.Join(dir, "offline"))
		for _, to := range []string{"i2_s", "f32", "tq1_0", "tq2_0", "bf16", "f16"} {
			tmp := t.TempDir()
			file := filepath.Join(tmp, "m.gguf")
			steps := 0
			err := Convert(ctx, off, file, ConvertOptions{
				To: to, Vocab: vocab, Verify: true, Progress: func(done, total int) { steps = total - done },
			})
			if want := impossible(off, to); want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s to %s: got %v, want an error with %q", dir, to, err, want)
				}
				if left, _ := os.ReadDir(tmp); len(left) > 0 {
					t.Errorf("%s to %s: left %v", dir, to, left)
				}
				continue
			}
			if err != nil || steps != 0 {
				t.Errorf("%s to %s: %v; progress ended %d short", dir, to, err, steps)
				continue
			}
			g := open(t, file)
			ignore := cmpopts.IgnoreFields(Config{}, "Extra", "Name")
			if diff := cmp.Diff(off.Config(), g.Config(), ignore); diff != "" {
				t.Errorf("%s to %s: configuration %s", dir, to, diff)
			}
			if w := g.Warnings(); len(w) > 0 {
				t.Errorf("%s to %s: %v", dir, to, w)
			}
			v := g.Vocab()
			if v == nil || len(v.Tokens) != off.Config().Vocab || v.Tokens[2] != "ab" || v.Types[3] != tokenUnused {
				t.Errorf("%s to %s: vocabulary %+v", dir, to, v)
			} else if diff := cmp.Diff(vocab, v, cmpopts.IgnoreFields(Vocab{}, "Tokens", "Types")); diff != "" {
				t.Errorf("%s to %s: %s", dir, to, diff)
			}
			back := filepath.Join(tmp, "back")
			if err := Convert(ctx, g, back, ConvertOptions{To: "offline", Verify: true}); err != nil {
				t.Errorf("%s from %s: %v", dir, to, err)
				continue
			}
			sameTensors(t, filepath.Join(dir, "offline", weightsName), filepath.Join(back, weightsName))
		}
	}
}

// impossible names why a lossless conversion must be refused.
func impossible(m *Model, to string) string {
	c := m.Config()
	switch {
	case strings.HasPrefix(to, "tq") && (c.Hidden%256 != 0 || c.FFN%256 != 0):
		return "blocks of 256"
	case c.Elem == graph.F32 && (to == "f16" || to == "bf16" || strings.HasPrefix(to, "tq")):
		return "its scale"
	}
	return ""
}

func TestRoundingIsOnlyOnRequest(t *testing.T) {
	ctx := context.Background()
	m := open(t, golden3(t, "online"))
	file := filepath.Join(t.TempDir(), "m.gguf")
	o := GGUFOptions{Type: "f16", Float: graph.F16, Rounding: true}
	if err := WriteGGUF(ctx, m, file, o); err != nil {
		t.Fatal(err)
	}
	g := open(t, file)
	err := Verify(ctx, m, g)
	if err == nil || !strings.Contains(err.Error(), "scale") || !strings.Contains(err.Error(), "embed_tokens") {
		t.Errorf("a rounded copy verifies: %v", err)
	}
	name := "model.layers.0.mlp.up_proj.weight"
	a, x := ternaryOf(t, m, name)
	b, y := ternaryOf(t, g, name)
	if !slices.Equal(a.I8(), b.I8()) || y != graph.F16ToF32(graph.F32ToF16(x)) {
		t.Errorf("scale %v became %v", x, y)
	}
	o.Rounding = false
	if err := WriteGGUF(ctx, m, file, o); err == nil {
		t.Error("rounded without leave")
	}
}

// TestFolderWithSmallerEmbedding writes embedding and head, and nothing else, in
// half the bytes.
func TestFolderWithSmallerEmbedding(t *testing.T) {
	ctx := t.Context()
	m := open(t, golden3(t, "offline"))
	dir := filepath.Join(t.TempDir(), "small")
	o := ConvertOptions{To: "offline", Float: graph.BF16}
	if err := Convert(ctx, m, dir, o); err == nil || !strings.Contains(err.Error(), "model.embed_tokens.weight") {
		t.Fatalf("rounded without leave: %v", err)
	}
	o.Rounding = true
	if err := Convert(ctx, m, dir, o); err != nil {
		t.Fatal(err)
	}
	got := open(t, dir)
	for _, s := range m.specs {
		if s.Linear {
			a, x := ternaryOf(t, m, s.Name)
			b, y := ternaryOf(t, got, s.Name)
			if !slices.Equal(a.I8(), b.I8()) || x != y {
				t.Errorf("%s: codes or scale changed", s.Name)
			}
			continue
		}
		want, err := m.Tensor(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Dims) == 2 {
			want = Round(want, graph.BF16)
		}
		b, err := got.Tensor(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Elem != want.Elem || !slices.Equal(b.Data, want.Data) {
			t.Errorf("%s: %v became %v, or other values", s.Name, want.Elem, b.Elem)
		}
	}
}

// golden3 is the model in float32, whose floats and scales no half type holds.
func golden3(t *testing.T, form string) string {
	return filepath.Join(published(t)[2], form)
}

func TestOldArchitecture(t *testing.T) {
	ctx := context.Background()
	// A SiLU model whose scales need more than f16.
	src := open(t, filepath.Join(published(t)[3], "online"))
	cfg := src.Config()
	cfg.Act = SiLU
	silu := withConfig(t, src, cfg)
	for _, to := range []string{"tq2_0", "tq1_0", "i2_s", "f16"} {
		file := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteGGUF(ctx, silu, file, GGUFOptions{Type: to}); err != nil {
			t.Fatal(err)
		}
		g := open(t, file)
		if err := Verify(ctx, silu, g); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if w := g.Warnings(); len(w) != 1 || !strings.Contains(w[0], "SiLU") || g.Config().Act != SiLU {
			t.Errorf("%s: %s, %v", to, g.Config().Act, w)
		}
	}
	file := filepath.Join(t.TempDir(), "m.gguf")
	for arch, m := range map[string]*Model{archOld: src, arch158: silu, arch25: silu, "llama": src} {
		if err := WriteGGUF(ctx, m, file, GGUFOptions{Arch: arch}); err == nil {
			t.Errorf("%s was written as %s", m.Config().Act, arch)
		}
	}
	if err := WriteGGUF(ctx, src, file, GGUFOptions{Arch: arch25}); err != nil {
		t.Error(err)
	}
}

// withConfig is a model in memory with m's tensors under another configuration.
func withConfig(t *testing.T, m *Model, cfg Config) *Model {
	t.Helper()
	var entries []Entry
	for _, s := range m.Specs() {
		x, err := m.Tensor(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, EntryOf(s.Name, x, 1))
	}
	out, err := New(cfg, entries)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMemoryModel(t *testing.T) {
	ctx := context.Background()
	m := open(t, golden3(t, "offline"))
	var entries []Entry
	for _, s := range m.Specs() {
		gamma := float32(0)
		if s.Linear {
			_, gamma = ternaryOf(t, m, s.Name)
		}
		x, err := m.Tensor(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, EntryOf(s.Name, x, gamma))
	}
	mem, err := New(m.Config(), entries)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(ctx, m, mem); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "x")
	if err := Convert(ctx, mem, dir, ConvertOptions{To: "offline", Verify: true}); err != nil {
		t.Error(err)
	}
	sameTensors(t, filepath.Join(golden3(t, "offline"), weightsName), filepath.Join(dir, weightsName))
	embedded, err := OpenFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(ctx, m, embedded); err != nil {
		t.Errorf("from an fs.FS: %v", err)
	}

	for name, bad := range map[string][]Entry{
		"missing": entries[1:],
		"twice":   append(slices.Clone(entries), entries[0]),
		"extra":   append(slices.Clone(entries), EntryOf("x", graph.FromF32([]float32{1}, 1), 0)),
	} {
		if _, err := New(m.Config(), bad); err == nil {
			t.Errorf("%s tensor: accepted", name)
		}
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Elem == graph.Tern })
	wrong := slices.Clone(entries)
	wrong[i].Load = func() (graph.Tensor, error) { return graph.NewTensor(graph.Tern, 1, 1), nil }
	if mem, err = New(m.Config(), wrong); err == nil {
		_, err = mem.Tensor(entries[i].Name)
	}
	if err == nil {
		t.Error("a tensor of the wrong shape was handed out")
	}
}

func TestConvertStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m := open(t, golden3(t, "online"))
	tmp := t.TempDir()
	for _, to := range []string{"online", "offline", "i2_s", "f32"} {
		ctx, cancel := context.WithCancel(ctx)
		o := ConvertOptions{To: to, Progress: func(done, _ int) {
			if done == 3 {
				cancel()
			}
		}}
		if err := Convert(ctx, m, filepath.Join(tmp, to), o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", to, err)
		}
	}
	cancel()
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if err := Convert(context.Background(), m, filepath.Join(tmp, "x"), ConvertOptions{To: "tl2"}); err == nil {
		t.Error("an unknown form was written")
	}
}

// A conversion of equal inputs gives equal bytes.
func TestWritingIsDeterministic(t *testing.T) {
	m := open(t, golden3(t, "offline"))
	yes := true
	v := &Vocab{Model: "llama", Tokens: []string{"x"}, Scores: []float32{-1}, AddBOS: &yes, AddEOS: &yes, AddSpacePrefix: &yes, EOT: 2}
	var first []byte
	for range 4 {
		file := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteGGUF(context.Background(), m, file, GGUFOptions{Vocab: v}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(b, first) {
			t.Fatal("two writings differ")
		}
		first = b
	}
}

func TestProbe(t *testing.T) {
	m := open(t, golden3(t, "offline"))
	text, err := m.File("config.json")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := ProbeConfig(text); err != nil || c.Hidden != m.Config().Hidden || c.Form != Ternary {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := ProbeConfig([]byte(`{"model_type":"mamba"}`)); err == nil {
		t.Error("mamba was accepted")
	}
	file := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteGGUF(context.Background(), m, file, GGUFOptions{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ProbeGGUF(data[:200], int64(len(data))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short prefix: %v", err)
	}
	if c, err := ProbeGGUF(data[:8192], int64(len(data))); err != nil || c.Hidden != m.Config().Hidden {
		t.Errorf("%+v, %v", c, err)
	}
	foreign := bytes.Replace(data[:8192], []byte("bitnet-b1.58"), []byte("bitnet-b9.99"), 1)
	if _, err := ProbeGGUF(foreign, int64(len(data))); err == nil {
		t.Error("an unknown architecture was accepted")
	}
}

func TestCompanionNamesStayInTheFolder(t *testing.T) {
	m := open(t, golden3(t, "offline"))
	for _, name := range []string{"../x", "a/b", "..", ".", "", weightsName} {
		o := FolderOptions{Form: Ternary, Files: map[string][]byte{name: []byte("x")}}
		if err := WriteFolder(context.Background(), m, filepath.Join(t.TempDir(), "m"), o); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

// TestOwnQuantizers: norms inside projections, 4-bit activations and group scales
// survive a folder of masters; forms that cannot hold them refuse and say what
// can.
func TestOwnQuantizers(t *testing.T) {
	cfg := Config{
		ModelType: "bitnet", Vocab: 8, Hidden: 16, FFN: 32, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 8,
		Act: ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 1e4, BOS: -1, Pad: -1, Elem: graph.F32,
	}
	build := func(change func(*Config)) *Model {
		c := cfg
		change(&c)
		var entries []Entry
		for i, s := range c.Specs() {
			x := graph.NewTensor(graph.F32, s.Dims...)
			for j := range x.F32() {
				x.F32()[j] = float32((i*31+j*17)%23-11) / 8
			}
			entries = append(entries, EntryOf(s.Name, x, 0))
		}
		m, err := New(c, entries)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, c := range map[string]struct {
		change  func(*Config)
		refuses map[string]string // form: what the error must name
	}{
		"norms":  {func(c *Config) { c.ProjNorm = true }, map[string]string{"i2_s": "Hugging Face folder"}},
		"4 bits": {func(c *Config) { c.ActBits = 4 }, map[string]string{"tq2_0": "Hugging Face folder"}},
		"groups": {func(c *Config) { c.Group = 8 }, map[string]string{"i2_s": "masters", "tq1_0": "masters", "offline": "masters"}},
		"all":    {func(c *Config) { c.ProjNorm, c.ActBits, c.Group = true, 4, 4 }, map[string]string{"offline": "masters"}},
	} {
		m := build(c.change)
		for _, form := range Forms() {
			dst := filepath.Join(t.TempDir(), "x")
			err := Convert(t.Context(), m, dst, ConvertOptions{To: form, Verify: true})
			want, refused := c.refuses[form]
			switch {
			case refused && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s as %s: %v, want an error with %q", name, form, err, want)
			case !refused && (form == "online" || form == "offline"):
				if err != nil {
					t.Errorf("%s as %s: %v", name, form, err)
					continue
				}
				got, err := Open(dst)
				if err != nil {
					t.Errorf("%s as %s: %v", name, form, err)
					continue
				}
				a, b := got.Config(), m.Config()
				if a.ProjNorm != b.ProjNorm || (a.ActBits == 4) != (b.ActBits == 4) || a.Group != b.Group {
					t.Errorf("%s as %s: %+v became %+v", name, form, b, a)
				}
				got.Close()
			case err == nil && !refused:
				t.Errorf("%s as %s: written", name, form)
			}
		}
	}
	m := build(func(c *Config) { c.Group = 8 })
	if _, err := m.Linear("model.layers.0.mlp.up_proj.weight"); err == nil || !strings.Contains(err.Error(), "each 8 weights") {
		t.Errorf("one scale of a matrix with groups: %v", err)
	}
	c := cfg
	c.Group = 5
	if err := c.Validate(); err == nil {
		t.Error("rows of 16 in groups of 5")
	}
}
