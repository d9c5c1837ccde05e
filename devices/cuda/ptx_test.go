package cuda

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/graph"
)

// header reads the line "// key: value" of a module.
func header(t *testing.T, m *module, key string) string {
	t.Helper()
	l := regexp.MustCompile(`(?m)^// ` + key + `: (.*)$`).FindStringSubmatch(m.text)
	if l == nil {
		t.Fatalf("kernels/%s.ptx has no line %q; run go generate ./devices/cuda", m.name, "// "+key+": …")
	}
	return l[1]
}

// allModules are the modules of the source tree by name, or where there is none
// those embedded.
func allModules(t *testing.T) map[string]*module {
	t.Helper()
	byKernel, err := readModules(os.DirFS("."), "kernels")
	if err != nil {
		t.Fatal(err)
	}
	if len(byKernel) == 0 {
		byKernel = modules()
	}
	byName := map[string]*module{}
	for _, m := range byKernel {
		byName[m.name] = m
	}
	return byName
}

// sources are a kernel file and all that it includes, sorted.
func sources(t *testing.T, name string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	var add func(string)
	add = func(name string) {
		if files[name] != nil {
			return
		}
		b, err := os.ReadFile("kernels/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
		for _, m := range regexp.MustCompile(`(?m)^#include "(.*)"`).FindAllSubmatch(b, -1) {
			add(string(m[1]))
		}
	}
	add(name)
	return files
}

// TestPTXIsCurrent proves that the embedded code was built from the committed
// sources with the committed command, and not edited since.
func TestPTXIsCurrent(t *testing.T) {
	if _, err := os.Stat("kernels/build.sh"); err != nil {
		t.Skip("no kernel sources beside the test: it does not run in the source tree")
	}
	built := allModules(t)
	names, err := fs.Glob(os.DirFS("kernels"), "*.cu")
	if err != nil || len(names) < 2 {
		t.Fatalf("sources: %v, %v", names, err)
	}
	script, err := os.ReadFile("kernels/build.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		m := built[strings.TrimSuffix(name, ".cu")]
		if m == nil {
			t.Errorf("kernels/%s has no compiled kernels; run go generate ./devices/cuda", name)
			continue
		}
		delete(built, m.name)
		sums := sha256.New()
		fmt.Fprintf(sums, "%x  build.sh\n", sha256.Sum256(script))
		files := sources(t, name)
		for _, f := range slices.Sorted(maps.Keys(files)) {
			fmt.Fprintf(sums, "%x  %s\n", sha256.Sum256(files[f]), f)
		}
		if got, want := fmt.Sprintf("%x", sums.Sum(nil)), header(t, m, "sources"); got != want {
			t.Errorf("kernels/%s.ptx was built from other sources; run go generate ./devices/cuda\nsources %s\nheader  %s", m.name, got, want)
		}
		var text strings.Builder
		for l := range strings.SplitAfterSeq(m.text, "\n") {
			if !strings.HasPrefix(l, "//") {
				text.WriteString(l)
			}
		}
		if got, want := fmt.Sprintf("%x", sha256.Sum256([]byte(text.String()))), header(t, m, "text"); got != want {
			t.Errorf("kernels/%s.ptx was edited after it was built\ntext   %s\nheader %s", m.name, got, want)
		}
	}
	for name := range built {
		t.Errorf("kernels/%s.ptx has no source", name)
	}
}

// entries maps each kernel of a module to its parameter types, and adds them to
// out.
func entries(t *testing.T, out map[string][]string, text string) {
	param := regexp.MustCompile(`\.param (?:\.align [0-9]+ )?\.([a-z]+[0-9]+) \w+(\[[0-9]+\])?`)
	for _, m := range regexp.MustCompile(`(?s)\.visible \.entry (\w+)\((.*?)\)`).FindAllStringSubmatch(text, -1) {
		if _, ok := out[m[1]]; ok {
			t.Errorf("two modules have a kernel %s", m[1])
		}
		for _, p := range param.FindAllStringSubmatch(m[2], -1) {
			out[m[1]] = append(out[m[1]], p[1]+p[2])
		}
	}
}

// fake returns an operand that lies in a buffer of d without memory behind it.
func fake(d *Device, elem graph.DType, layout graph.Layout, dims ...int) devices.Operand {
	return devices.Operand{Elem: elem, Dims: dims, Layout: layout, Buf: &buffer{d: d, ptr: 256, size: 1 << 30}}
}

// TestArgumentsMatchKernels binds every row of the table without a GPU and
// compares what it passes with what the compiled kernel takes.
func TestArgumentsMatchKernels(t *testing.T) {
	want := map[string][]string{}
	for _, m := range allModules(t) {
		entries(t, want, m.text)
	}
	used := map[string]bool{}
	var check func(row string, l devices.Launch, err error)
	check = func(row string, l devices.Launch, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", row, err)
			return
		}
		if all, ok := l.(several); ok {
			for _, w := range all {
				check(row, w, nil)
			}
			return
		}
		if a, ok := l.(*adam); ok {
			l = a.launch
		}
		k, ok := l.(*launch)
		if !ok {
			return // a library's work
		}
		used[k.name] = true
		if diff := cmp.Diff(want[k.name], k.params.types[:k.params.n]); diff != "" {
			t.Errorf("%s: parameters of %s (-kernel +bound):\n%s", row, k.name, diff)
		}
		if k.grid.X == 0 || k.block.X == 0 || k.block.X%32 != 0 || k.block.X > 1024 {
			t.Errorf("%s: grid %v, block %v", row, k.grid, k.block)
		}
	}
	// One multiprocessor has many rows even of small matrices.
	for _, arch := range []string{"sm_80", "sm_90", "sm_90, one multiprocessor"} {
		name, _, one := strings.Cut(arch, ",")
		d, err := Offline(name)
		if err != nil {
			t.Fatal(err)
		}
		if one {
			d.info.Multiprocessors = 1
		}
		for _, k := range d.Kernels() {
			if !d.hasAll(k.Needs) {
				continue // a library's, or not for this GPU
			}
			for _, c := range exampleCalls(k) {
				for i := range c.In {
					c.In[i] = fake(d, c.In[i].Elem, c.In[i].Layout, c.In[i].Dims...)
				}
				for i := range c.Out {
					c.Out[i] = fake(d, c.Out[i].Elem, "", c.Out[i].Dims...)
				}
				if k.Scratch != nil {
					c.Scratch = fake(d, graph.U8, "", k.Scratch(c))
				}
				l, err := k.Bind(c)
				check(arch+": "+k.Name, l, err)
			}
		}
		for _, l := range d.Layouts() {
			p, err := l.Pack(fake(d, l.Elem, "", 6, 100), fake(d, l.Elem, l.Name, 6, 100))
			check(arch+": "+string(l.Name), p, err)
		}
		gather := d.Join(inprocess.Group(2)[0]).(*member).gatherColumns()
		l, err := gather.Bind(&devices.Call{Op: gather.Op, In: []devices.Operand{fake(d, graph.F32, "", 3, 4)},
			Out: []devices.Operand{fake(d, graph.F32, "", 3, 8)}, Scratch: fake(d, graph.U8, "", 96)})
		check(arch+": "+gather.Name, l, err)
		l, err = d.bind("scatter", shape{blocks: 1, threads: scatterThread}, blob(make([]byte, piecesBytes)))
		check(arch+": small writes", l, err)
		l, err = d.measureRead(fake(d, graph.U8, "", 64), fake(d, graph.I32, "", 1))
		check(arch+": measuring", l, err)
		for _, kernel := range []string{"measure_mma_s8", "measure_mma_bf16"} {
			l, _, err := d.measureProducts(kernel, fake(d, graph.F32, "", 1), 1)
			check(arch+": measuring", l, err)
		}
	}
	for name := range want {
		if !used[name] {
			t.Errorf("kernel %s of the PTX is in no row of the table", name)
		}
	}
}

// TestStaticSharedMemory sums up what each kernel declares: dynamic shared memory may be
// all but staticShared.
func TestStaticSharedMemory(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^\s*\.shared \.align \d+ \.[bufs](\d+) (\w+)(?:\[(\d+)\])?;`)
	entry := regexp.MustCompile(`\.entry (\w+)\(`)
	seen := map[*module]bool{}
	for _, m := range modules() { // by kernel
		if seen[m] {
			continue
		}
		seen[m] = true
		all := declared.FindAllStringSubmatch(m.text, -1)
		for _, at := range entry.FindAllStringSubmatchIndex(m.text, -1) {
			name, body := m.text[at[2]:at[3]], m.text[at[1]:]
			if end := strings.Index(body, ".entry "); end >= 0 {
				body = body[:end]
			}
			if !strings.Contains(body, "dynamic_shared") {
				continue
			}
			sum := 0
			for _, d := range all {
				if !strings.Contains(body, d[2]) {
					continue // another kernel's
				}
				bits, _ := strconv.Atoi(d[1])
				n, err := strconv.Atoi(d[3])
				if err != nil {
					n = 1
				}
				sum += bits / 8 * n
			}
			if sum > staticShared {
				t.Errorf("kernel %s has %d bytes of static shared memory, want %d at most beside dynamic", name, sum, staticShared)
			}
		}
	}
}
