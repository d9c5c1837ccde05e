package runtime

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

// rows accepts calls with from to to rows.
func rows(from, to int) func(*devices.Call) error {
	return func(c *devices.Call) error {
		if n := c.In[0].Rows(); n < from || n > to {
			return fmt.Errorf("%d rows, wants %d to %d", n, from, to)
		}
		return nil
	}
}

const oneMatMul = `
graph @one(%x: f32[S,2])  where S in 1..64
  %w = param "w" : f32[2,2]
  %y = matmul(%x, %w) {tb=true} : f32[S,2]
  return %y
`

// chosen compiles text and returns the kernels of the plan for S=s, joined.
func chosen(t *testing.T, text string, dev devices.Device, s int) string {
	t.Helper()
	p := compile(t, parse(t, text, fusedPair.OpDef, view.OpDef), dev)
	pl, err := p.plan([]int{s})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range pl.calls {
		names = append(names, pl.calls[i].kernel.Name)
	}
	return strings.Join(names, " ")
}

func TestPlansShareOneReductionOrder(t *testing.T) {
	cost := func(k devices.Kernel, c float64) devices.Kernel {
		k.Cost = func(*devices.Call) float64 { return c }
		return k
	}
	gemv := columnsMatMul("gemv", "cols", "k8", rows(1, 1), 1)
	gemm := columnsMatMul("gemm", "cols", "k8", rows(2, 64), 5)
	fast := columnsMatMul("fast", "cols", "k16", rows(2, 64), 1)
	slow := columnsMatMul("slow", "cols", "own", nil, 9)
	fallback := host.RefKernel()
	for _, tc := range []struct {
		name      string
		kernels   []devices.Kernel
		one, many string
	}{
		{"same order", []devices.Kernel{gemv, gemm}, "gemv", "gemm"},
		{"the faster one has another order", []devices.Kernel{gemv, gemm, fast}, "gemv", "gemm"},
		{"no common order, a slow kernel fits all", []devices.Kernel{gemv, fast, slow}, "slow", "slow"},
		{"no common order, only the fallback fits all", []devices.Kernel{gemv, fast, fallback}, "ref", "ref"},
		{"own kernels before the fallback", []devices.Kernel{fallback, cost(slow, 1e9)}, "slow", "slow"},
		{"the empty order is a kernel's own", []devices.Kernel{
			columnsMatMul("a", "cols", "", rows(1, 1), 1), columnsMatMul("b", "cols", "", rows(2, 64), 1), fallback}, "ref", "ref"},
	} {
		dev := toy(t, tc.kernels, columns("cols"))
		if got := chosen(t, oneMatMul, dev, 1); got != tc.one {
			t.Errorf("%s: S=1 runs %s, want %s", tc.name, got, tc.one)
		}
		if got := chosen(t, oneMatMul, dev, 64); got != tc.many {
			t.Errorf("%s: S=64 runs %s, want %s", tc.name, got, tc.many)
		}
	}
	// Without any kernel that fits every size, the error says what was tried.
	_, err := Compile(parse(t, oneMatMul), toy(t, []devices.Kernel{gemv, fast}, columns("cols")))
	var none *devices.NoKernelError
	if !errors.As(err, &none) || none.Op != "matmul" || !strings.Contains(err.Error(), "fast: 1 rows, wants 2 to 64") {
		t.Errorf("error %v", err)
	}
}

func TestMissingFeatureIsARejection(t *testing.T) {
	lacking := columnsMatMul("lacking", "cols", "", nil, 1)
	lacking.Needs = []devices.Feature{"here", "elsewhere"}
	dev := toy(t, []devices.Kernel{lacking, host.RefKernel()}, columns("cols"))
	if got := chosen(t, oneMatMul, dev, 1); got != "ref" {
		t.Errorf("runs %s", got)
	}
	var b strings.Builder
	if err := compile(t, parse(t, oneMatMul), dev).Explain(&b); err != nil || !strings.Contains(b.String(), "matmul: lacking: this machine lacks elsewhere") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestBF16NeedsKernelsThatTakeIt: a kernel is never given a call in bf16 that it
// does not ask for, whatever its Accept says, and neither is a fallback.
func TestBF16NeedsKernelsThatTakeIt(t *testing.T) {
	text := `
graph @half(%a: bf16[S,2], %b: bf16[S,2])  where S in 1..64
  %y = add(%a, %b) : bf16[S,2]
  return %y
`
	fallback := host.RefKernel()
	_, err := Compile(parse(t, text), toy(t, []devices.Kernel{addKernel(), fallback}))
	var none *devices.NoKernelError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "add.inplace: it computes in f32, the operands are bf16") {
		t.Errorf("error %v", err)
	}
	fallback.BF16 = true
	if got := chosen(t, text, toy(t, []devices.Kernel{addKernel(), fallback}), 3); got != "ref" {
		t.Errorf("runs %s", got)
	}
	own := addKernel()
	own.BF16 = true
	if got := chosen(t, text, toy(t, []devices.Kernel{own, fallback}), 3); got != own.Name {
		t.Errorf("runs %s", got)
	}
}

func TestLayoutOfASharedWeight(t *testing.T) {
	two := `
graph @tied(%x: f32[S,2], %z: f32[S,2])  where S in 1..64
  %w = param "w" : f32[2,2]
  %y = matmul(%x, %w) {tb=true} : f32[S,2]
  %v = matmul(%z, %w) {tb=true} : f32[S,2]
  %u = add(%w, %w) : f32[2,2]
  %1 = matmul(%y, %u) {tb=true} : f32[S,2]
  return %1, %v
`
	a := columnsMatMul("a", "cols", "", nil, 1)
	b := columnsMatMul("b", "longcols", "", nil, 3)
	forms := func(text string, kernels ...devices.Kernel) (out []string) {
		p := compile(t, parse(t, text), toy(t, append(kernels, host.RefKernel()), columns("cols"), columns("longcols")))
		for _, s := range p.need {
			out = append(out, p.names[p.vals[s.val].v]+"@"+string(s.layout))
		}
		return out
	}
	if got := fmt.Sprint(forms(two, a, b)); got != "[%w@cols %u@cols]" {
		t.Errorf("stored as %s", got)
	}
	// A user that only takes plain weights decides for all if it must.
	tied := `
graph @tied(%ids: i32[S])  where S in 1..64
  %w = param "w" : f32[2,2]
  %x = embedding(%w, %ids) : f32[S,2]
  %y = matmul(%x, %w) {tb=true} : f32[S,2]
  return %y
`
	if got := fmt.Sprint(forms(tied, a)); got != "[%w@ %w@cols]" {
		t.Errorf("no common layout: stored as %s, want one copy for each user", got)
	}
	plain := a
	plain.Name, plain.Layouts, plain.Order = "plain", nil, "plain"
	plain.Cost = func(*devices.Call) float64 { return 50 }
	if got := fmt.Sprint(forms(tied, a, plain)); got != "[%w@]" {
		t.Errorf("a common layout exists: stored as %s", got)
	}
}

// What changes every step cannot be packed.
func TestActivationsAreNotPacked(t *testing.T) {
	dev := toy(t, []devices.Kernel{columnsMatMul("packs", "cols", "", nil, 1), host.RefKernel()}, columns("cols"))
	text := `
graph @g(%x: f32[S,2], %w: f32[2,2])  where S in 1..64
  %y = matmul(%x, %w) {tb=true} : f32[S,2]
  return %y
`
	if got := chosen(t, text, dev, 1); got != "ref" {
		t.Errorf("runs %s", got)
	}
}

func TestUnclaimedFusionsAreInlined(t *testing.T) {
	text := `
graph @g(%x: f32[S,2])  where S in 1..64
  %a, %b = test.pair(%x, %x) : f32[S,2], f32[S,2]  // model.go:3
  %y = add(%a, %b) : f32[S,2]
  return %y
`
	pair := devices.Kernel{Name: "pair", Op: fusedPair.OpDef, Accept: rows(1, 32), Bind: host.BindRef}
	base := []devices.Kernel{addKernel(), unaryKernel(ops.ReLU2Op.OpDef, relu2), host.RefKernel()}
	inlined := "relu2.inplace add.inplace add.inplace"
	for _, tc := range []struct {
		name   string
		kernel devices.Kernel
		want   string
	}{
		{"not every size fits", pair, inlined},
		{"every size fits", devices.Kernel{Name: "pair", Op: fusedPair.OpDef, Bind: host.BindRef}, "pair add.inplace"},
		{"feature missing", devices.Kernel{Name: "pair", Op: fusedPair.OpDef, Needs: []devices.Feature{"x"}}, inlined},
	} {
		if got := chosen(t, text, toy(t, append([]devices.Kernel{tc.kernel}, base...)), 5); got != tc.want {
			t.Errorf("%s: runs %s, want %s", tc.name, got, tc.want)
		}
	}
	var b strings.Builder
	if err := compile(t, parse(t, text, fusedPair.OpDef), toy(t, append(base, pair))).Explain(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "inlined\n  model.go:3: test.pair") {
		t.Errorf("explain does not tell:\n%s", b.String())
	}
}

func TestExplain(t *testing.T) {
	lacking := columnsMatMul("matmul.wide", "columns", "", nil, 1)
	lacking.Needs = []devices.Feature{"elsewhere"}
	dev := toy(t, append(noAllocKernels(), lacking), columns("columns"))
	g := parse(t, `
graph @two(%x: f32[S,4])  where S in 1..64
  %w1 = param "w1" : f32[4,4]
  %a  = matmul(%x, %w1) {tb=true} : f32[S,4] // m.go:1
  %b  = relu2(%a) : f32[S,4] // m.go:2
  %w2 = param "w2" : f32[4,4]
  %c  = matmul(%b, %w2) {tb=true} : f32[S,4] // m.go:3
  %y  = add(%c, %x) : f32[S,4] // m.go:4
  return %y
`)
	var b strings.Builder
	if err := compile(t, g, dev).Explain(&b, 16); err != nil {
		t.Fatal(err)
	}
	want := `program two on toy  plan S=16  arena 768 B
memory   arena 768 B, in use at once 768 B, without reuse 1536 B; weights 136 B (packed 136 B); states 0 B
traffic  136 B of weights read per step
   0  matmul.columns  %x %w1@columns -> %a@256  // m.go:1
   1  relu2.inplace   %a -> %b=%a  // m.go:2
   2  matmul.columns  %b %w2@columns -> %c@512  // m.go:3
   3  add.inplace     %c %x -> %y=%c  // m.go:4
not taken
  matmul: matmul.wide: this machine lacks elsewhere  ×2
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestProfile(t *testing.T) {
	r := newRun(t, compile(t, parse(t, twoLayers), toy(t, noAllocKernels(), columns("columns"))), twoWeights())
	r.SetF32(0, make([]float32, 4))
	times, err := r.Profile(t.Context(), 1)
	if err != nil || len(times) != 4 || times[0].Kernel != "matmul.columns" || times[0].Time <= 0 || times[0].Bytes != 16+64+16 {
		t.Errorf("%+v, %v", times, err)
	}
	if _, err := r.Output(t.Context(), 0); err != nil {
		t.Error(err)
	}
}
