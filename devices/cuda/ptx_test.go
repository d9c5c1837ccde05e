package cuda

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// header reads the line "// key: value" of the embedded PTX.
func header(t *testing.T, key string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^// ` + key + `: (.*)$`).FindStringSubmatch(ptx)
	if m == nil {
		t.Fatalf("kernels/trit.ptx has no line %q; run go generate ./devices/cuda", "// "+key+": …")
	}
	return m[1]
}

// TestPTXIsCurrent proves that the embedded code was built from the committed
// sources with the committed command, and not edited since.
func TestPTXIsCurrent(t *testing.T) {
	names, err := fs.Glob(os.DirFS("kernels"), "*.cu*")
	if err != nil || len(names) < 2 {
		t.Fatalf("sources: %v, %v", names, err)
	}
	// The order of build.sh's sha256sum: itself, *.cu, *.cuh.
	slices.SortFunc(names, func(a, b string) int {
		ah, bh := strings.HasSuffix(a, ".cuh"), strings.HasSuffix(b, ".cuh")
		if ah != bh {
			if bh {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	sums := sha256.New()
	for i, name := range append([]string{"build.sh"}, names...) {
		b, err := os.ReadFile("kernels/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			name = "./" + name
		}
		fmt.Fprintf(sums, "%x  %s\n", sha256.Sum256(b), name)
	}
	if got, want := fmt.Sprintf("%x", sums.Sum(nil)), header(t, "sources"); got != want {
		t.Errorf("kernels/trit.ptx was built from other sources; run go generate ./devices/cuda\nsources %s\nheader  %s", got, want)
	}
	var text strings.Builder
	for _, l := range strings.SplitAfter(ptx, "\n") {
		if !strings.HasPrefix(l, "//") {
			text.WriteString(l)
		}
	}
	if got, want := fmt.Sprintf("%x", sha256.Sum256([]byte(text.String()))), header(t, "text"); got != want {
		t.Errorf("kernels/trit.ptx was edited after it was built\ntext   %s\nheader %s", got, want)
	}
}

// entries maps each kernel of the PTX to its parameter types.
func entries(text string) map[string][]string {
	out := map[string][]string{}
	param := regexp.MustCompile(`\.param \.([a-z]+[0-9]+)`)
	for _, m := range regexp.MustCompile(`(?s)\.visible \.entry (\w+)\((.*?)\)`).FindAllStringSubmatch(text, -1) {
		for _, p := range param.FindAllStringSubmatch(m[2], -1) {
			out[m[1]] = append(out[m[1]], p[1])
		}
	}
	return out
}

// fake returns an operand that lies in a buffer of d without memory behind it.
func fake(d *Device, elem graph.DType, layout graph.Layout, dims ...int) devices.Operand {
	return devices.Operand{Elem: elem, Dims: dims, Layout: layout, Buf: &buffer{d: d, ptr: 256, size: 1 << 30}}
}

// TestArgumentsMatchKernels binds every row of the table without a GPU and
// compares what it passes with what the compiled kernel takes.
func TestArgumentsMatchKernels(t *testing.T) {
	d, err := Offline("sm_90")
	if err != nil {
		t.Fatal(err)
	}
	want := entries(ptx)
	used := map[string]bool{}
	check := func(row string, l devices.Launch, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", row, err)
			return
		}
		k := l.(*launch)
		used[k.name] = true
		if diff := cmp.Diff(want[k.name], k.params.types[:k.params.n]); diff != "" {
			t.Errorf("%s: parameters of %s (-kernel +bound):\n%s", row, k.name, diff)
		}
		if k.grid.X == 0 || k.block.X == 0 || k.block.X%32 != 0 || k.block.X > 1024 {
			t.Errorf("%s: grid %v, block %v", row, k.grid, k.block)
		}
	}
	for _, k := range d.Kernels() {
		c := exampleCall(k)
		for i := range c.In {
			c.In[i] = fake(d, c.In[i].Elem, c.In[i].Layout, c.In[i].Dims...)
		}
		for i := range c.Out {
			c.Out[i] = fake(d, c.Out[i].Elem, "", c.Out[i].Dims...)
		}
		l, err := k.Bind(c)
		check(k.Name, l, err)
	}
	for _, l := range d.Layouts() {
		p, err := l.Pack(fake(d, l.Elem, "", 6, 100), fake(d, l.Elem, l.Name, 6, 100))
		check(string(l.Name), p, err)
	}
	for name := range want {
		if !used[name] {
			t.Errorf("kernel %s of the PTX is in no row of the table", name)
		}
	}
}
