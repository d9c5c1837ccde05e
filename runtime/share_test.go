package runtime

import (
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
)

// TestSharedStates: one program adds to a state, another reads and changes the
// same memory.
func TestSharedStates(t *testing.T) {
	dev := toy(t, []devices.Kernel{host.RefKernel()})
	program := func(text string) *Program { return compile(t, parse(t, text, accumulate.OpDef), dev) }
	adds := program(`
graph @adds(%x: f32[2])
  %s  = state "sum" : f32[2]
  %s2 = test.accumulate(%s, %x) : f32[2]
  return %s2
`)
	doubles := program(`
graph @doubles()
  %own = state "own" : f32[2]
  %s   = state "sum" : f32[2]
  %y   = scale(%s) {by=1} : f32[2]
  %s2  = test.accumulate(%s, %y) : f32[2]
  return %s2, %own
`)
	wrong := program(`
graph @wrong()
  %s = state "sum" : f32[3]
  return %s
`)
	ctx := t.Context()
	a, err := adds.NewRun()
	if err != nil {
		t.Fatal(err)
	}
	b, err := doubles.NewRun(a)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a.SetF32(0, []float32{1, 10})
		if err := a.Step(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*Run{a, b} {
		if got, err := r.ReadState(ctx, "sum"); err != nil || !slices.Equal(got.F32(), []float32{6, 60}) {
			t.Errorf("%s reads %v, %v", r.Program().Graph().Name, got.F32(), err)
		}
	}
	if _, err := wrong.NewRun(a); err == nil || !strings.Contains(err.Error(), `state "sum": it is f32[3] here and f32[2] in adds`) {
		t.Errorf("another type: %v", err)
	}
	elsewhere := compile(t, parse(t, "graph @e()\n%s = state \"sum\" : f32[2]\nreturn %s"), toy(t, []devices.Kernel{host.RefKernel()}))
	if _, err := elsewhere.NewRun(a); err == nil || !strings.Contains(err.Error(), "one device value") {
		t.Errorf("another device: %v", err)
	}
	if err := a.Close(); err == nil || !strings.Contains(err.Error(), "close them first") {
		t.Errorf("closing the owner first: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if _, err := doubles.NewRun(a); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("sharing with a closed run: %v", err)
	}
}
