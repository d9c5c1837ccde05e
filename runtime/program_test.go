package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
)

const twoLayers = `
graph @two(%x: f32[S,4])  where S in 1..64
  %w1 = param "w1" : f32[4,4]
  %a  = matmul(%x, %w1) {tb=true} : f32[S,4]
  %b  = relu2(%a) : f32[S,4]
  %w2 = param "w2" : f32[4,4]
  %c  = matmul(%b, %w2) {tb=true} : f32[S,4]
  %y  = add(%c, %x) : f32[S,4]
  return %y
`

func twoWeights() Tensors {
	eye := make([]float32, 16)
	for i := range 4 {
		eye[5*i] = 2
	}
	return Tensors{"w1": graph.FromF32(eye, 4, 4), "w2": graph.FromF32(eye, 4, 4)}
}

func noAllocKernels() []devices.Kernel {
	return []devices.Kernel{addKernel(), unaryKernel(ops.ReLU2Op.OpDef, relu2),
		columnsMatMul("matmul.columns", "columns", "", nil, 1)}
}

func TestStepDoesNotAllocate(t *testing.T) {
	p := compile(t, parse(t, twoLayers), toy(t, noAllocKernels(), columns("columns")))
	r := newRun(t, p, twoWeights())
	x, err := p.Input("x")
	if err != nil {
		t.Fatal(err)
	}
	xs := make([]float32, 4*64)
	for i := range xs {
		xs[i] = 1
	}
	ctx := t.Context()
	step := func(n int) {
		r.SetF32(x, xs[:4*n])
		if err := r.Step(ctx, n); err != nil {
			t.Fatal(err)
		}
		out, err := r.Output(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		if y := out.F32(); len(y) != 4*n || y[0] != 9 || y[4*n-1] != 9 { // 2·(2·1)² + 1
			t.Fatalf("got %v", y)
		}
	}
	sizes := []int{1, 64, 1, 7, 7, 1, 64}
	for _, n := range sizes {
		step(n)
	}
	if n := testing.AllocsPerRun(20, func() {
		for _, n := range sizes {
			step(n)
		}
	}); n != 0 {
		t.Errorf("%v allocations in %d steps", n, len(sizes))
	}
}

func TestStepErrors(t *testing.T) {
	p := compile(t, parse(t, twoLayers), toy(t, noAllocKernels(), columns("columns")))
	if _, err := p.NewRun(); err == nil || !strings.Contains(err.Error(), "2 params are not loaded") {
		t.Errorf("a run without weights: %v", err)
	}
	r := newRun(t, p, twoWeights())
	ctx := t.Context()
	if _, err := r.Output(ctx, 0); err == nil {
		t.Error("an output before the first step")
	}
	want := func(name, text string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v, want one with %q", name, err, text)
		}
	}
	x := make([]float32, 8)
	r.SetF32(0, x)
	want("too few symbols", "1 symbols", r.Step(ctx))
	want("too many symbols", "got 2", r.Step(ctx, 1, 2))
	want("symbol out of bounds", "S is 65, allowed is 1..64", r.Step(ctx, 65))
	want("wrong size", `input "x"`, r.Step(ctx, 1))
	r.SetI32(0, make([]int32, 8))
	want("wrong type", "got i32", r.Step(ctx, 2))
	r.SetF32(7, x)
	want("bad handle", "handle 7", r.Step(ctx, 2))
	r.Set(0, graph.FromF32(x, 4, 2))
	want("wrong shape", "[4 2]", r.Step(ctx, 2))
	r.SetF32(0, x)
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.Step(done, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := r.Output(ctx, 0); err == nil {
		t.Error("an output after a failed step")
	}
	if err := r.Step(ctx, 2); err != nil {
		t.Errorf("mistakes are not forgotten: %v", err)
	}
	if _, err := p.Input("y"); err == nil {
		t.Error("an input that is not there")
	}
	want("Load under a run", "close them first", p.Load(ctx, twoWeights()))
	want("Close under a run", "still open", p.Close())
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	want("closed run", "closed", r.Step(ctx, 2))
	if err := p.Load(ctx, twoWeights()); err != nil {
		t.Errorf("Load again: %v", err)
	}
}

func TestKernelFailureNamesTheLine(t *testing.T) {
	g := parse(t, `
graph @emb(%ids: i32[S])  where S in 1..4
  %t = param "table" : f32[3,2]
  %y = embedding(%t, %ids) : f32[S,2]  // model.go:7
  return %y
`)
	r := newRun(t, compile(t, g, toy(t, []devices.Kernel{host.RefKernel()})), Tensors{"table": graph.NewTensor(graph.F32, 3, 2)})
	r.SetI32(0, []int32{2, 3})
	if err := r.Step(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "model.go:7: embedding: id 3 at 1") {
		t.Errorf("error %v", err)
	}
	r.SetI32(0, []int32{2, 1})
	if err := r.Step(t.Context(), 2); err != nil {
		t.Errorf("the next step: %v", err)
	}
}

func TestRunsShareWeights(t *testing.T) {
	d := host.New(host.Config{Name: "toy", Kernels: append(noAllocKernels(), host.RefKernel()), Layouts: []devices.Layout{columns("columns")}, Threads: 2})
	defer d.Close()
	p := compile(t, parse(t, twoLayers), d)
	if err := p.Load(t.Context(), twoWeights()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for id := range errs {
		wg.Go(func() {
			errs[id] = func() error {
				r, err := p.NewRun()
				if err != nil {
					return err
				}
				defer r.Close()
				for i := range 200 {
					n := 1 + (id*7+i)%20
					v := float32(id + 1)
					xs := make([]float32, 4*n)
					for j := range xs {
						xs[j] = v
					}
					r.SetF32(0, xs)
					if err := r.Step(context.Background(), n); err != nil {
						return err
					}
					y, err := r.Output(context.Background(), 0)
					if err != nil {
						return err
					}
					for _, got := range y.F32() {
						if got != 8*v*v+v {
							return fmt.Errorf("run %d: got %v", id, got)
						}
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestStates(t *testing.T) {
	g := parse(t, `
graph @count(%x: f32[2])  where B in 1..8
  %s  = state "sum" : f32[B,2]
  %y  = sum(%s) : f32[]
  %s2 = test.accumulate(%s, %x) : f32[B,2]
  return %y, %s2
`, accumulate.OpDef)
	dev := toy(t, []devices.Kernel{host.RefKernel()})
	if _, err := Compile(g, dev); err == nil || !strings.Contains(err.Error(), "runtime.Fix") {
		t.Errorf("a state of unknown size: %v", err)
	}
	for _, bad := range []Option{Fix("B", 9), Fix("C", 1)} {
		if _, err := Compile(g, dev, bad); err == nil {
			t.Error("a bad Fix is accepted")
		}
	}
	p := compile(t, g, dev, Fix("B", 1))
	r, other := newRun(t, p, nil), newRun(t, p, nil)
	ctx := t.Context()
	step := func(r *Run, wantOld float32, want ...float32) {
		t.Helper()
		r.SetF32(0, []float32{1, 10})
		if err := r.Step(ctx); err != nil {
			t.Fatal(err)
		}
		old, _ := r.Output(ctx, 0)
		now, _ := r.Output(ctx, 1)
		kept, err := r.ReadState(ctx, "sum")
		if err != nil || old.F32()[0] != wantOld || !slices.Equal(now.F32(), want) || !slices.Equal(kept.F32(), want) {
			t.Errorf("old sum %v, new %v, kept %v, %v; want %v, %v", old.F32(), now.F32(), kept.F32(), err, wantOld, want)
		}
	}
	step(r, 0, 1, 10)
	step(r, 11, 2, 20)
	step(other, 0, 1, 10)
	if err := r.WriteState(ctx, "sum", graph.FromF32([]float32{-1, 5}, 1, 2)); err != nil {
		t.Fatal(err)
	}
	step(r, 4, 0, 15)
	for _, bad := range []graph.Tensor{graph.FromF32([]float32{1, 2}, 2), graph.FromI32([]int32{1, 2}, 1, 2), {Elem: graph.F32, Dims: []int{1, 2}}} {
		if r.WriteState(ctx, "sum", bad) == nil {
			t.Errorf("%s written", bad.Type())
		}
	}
	if _, err := r.ReadState(ctx, "none"); err == nil {
		t.Error("a state that is not there")
	}
}

func TestPlansAreBounded(t *testing.T) {
	p := compile(t, parse(t, twoLayers), toy(t, noAllocKernels(), columns("columns")), MaxPlans(3))
	r := newRun(t, p, twoWeights())
	xs := make([]float32, 4*64)
	for n := 1; n <= 64; n++ {
		for _, m := range []int{n, 1} {
			r.SetF32(0, xs[:4*m])
			if err := r.Step(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if len(r.plans) > 3 {
				t.Fatalf("%d plans kept", len(r.plans))
			}
		}
	}
	if r.plans[symKey{1}] == nil {
		t.Error("the plan in steady use was dropped")
	}
}
