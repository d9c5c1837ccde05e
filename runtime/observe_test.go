package runtime_test

import (
	"errors"
	"testing"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/runtime"
)

// TestObserve sees every result in order, as it was before it was overwritten,
// and ends where it is told to.
func TestObserve(t *testing.T) {
	b := graph.NewBuilder("g")
	x := b.Input("x", graph.F32, graph.C(3))
	y := b.Name(ops.Scale(x, 2), "y")
	g, err := b.Finish(b.Name(ops.ReLU2(ops.Scale(y, -1)), "z"))
	if err != nil {
		t.Fatal(err)
	}
	dev := ref.Device(ref.Options{Threads: 1})
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	run, err := prog.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	in, err := prog.Input("x")
	if err != nil {
		t.Fatal(err)
	}
	run.SetF32(in, []float32{1, -2, 3})
	var got []float32
	see := func(o runtime.Observation) error {
		got = append(got, o.Value.F32()[1])
		return nil
	}
	if err := run.Observe(t.Context(), see); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != -4 || got[1] != 4 || got[2] != 16 {
		t.Errorf("saw %v", got)
	}
	if out, err := run.Output(t.Context(), 0); err != nil || out.F32()[1] != 16 {
		t.Errorf("output %v, %v", out, err)
	}
	stop, seen := errors.New("stop"), 0
	err = run.Observe(t.Context(), func(o runtime.Observation) error { seen++; return stop })
	if !errors.Is(err, stop) || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	if _, err := run.Output(t.Context(), 0); err == nil {
		t.Error("half a step has outputs")
	}
}
