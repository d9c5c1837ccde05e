package neon

import (
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/conformance"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// TestConformance holds every kernel of every instruction set to its op's
// reference, then their twins in plain Go.
func TestConformance(t *testing.T) {
	threads := func(n int) devices.Device { return own{newDevice(t, Options{Threads: n})} }
	t.Run("native", func(t *testing.T) {
		conformance.Run(t, own{newDevice(t, Options{})}, conformance.Options{Ops: crossing(), Threads: threads})
	})
	t.Run("portable", func(t *testing.T) {
		conformance.Run(t, own{newDevice(t, Options{Off: "-all", Portable: true})}, conformance.Options{Ops: crossing()})
	})
}

// own is a device without the fallback, which is tested where it lives.
type own struct{ devices.Device }

func (d own) Kernels() []devices.Kernel {
	return slices.DeleteFunc(slices.Clone(d.Device.Kernels()), func(k devices.Kernel) bool { return k.Op == nil })
}

func newDevice(t testing.TB, o Options) devices.Device {
	t.Helper()
	d, err := Device(o)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// crossing adds cases of several tiles, of rows and of tokens, and demands equal
// codes of the fused quantizers: squares are summed in float64, as the reference
// does, so no code here hangs on the order.
func crossing() map[*graph.OpDef]conformance.Op {
	known, more := conformance.Known(), map[*graph.OpDef]conformance.Op{}
	add := func(op *graph.OpDef, cases func(r *conformance.Rand) []conformance.Case) {
		k := known[op]
		more[op] = conformance.Op{Tol: k.Tol, Cases: func(r *conformance.Rand) []conformance.Case {
			return append(k.Cases(r), cases(r)...)
		}}
	}
	add(ternary.MatMulOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		var cs []conformance.Case
		for _, s := range [][3]int{{1, 130, 2560}, {70, 100, 257}, {130, 20, 48}} {
			cs = append(cs, conformance.Case{Attrs: graph.None{}, In: []graph.Tensor{r.I8(s[0], s[2]), r.Tern(s[1], s[2])}, Rows: []int{0}})
		}
		return cs
	})
	add(bitlinear.LinearAddOp.OpDef, func(r *conformance.Rand) []conformance.Case {
		return []conformance.Case{{Attrs: graph.None{}, Rows: []int{0, 1, 4},
			In: []graph.Tensor{r.I8(66, 1600), r.Fill(3, 66, 1), r.Tern(90, 1600), r.Fill(0.7), r.F32(66, 90)}}}
	})
	for _, op := range []*graph.OpDef{bitlinear.SubLNQuantOp.OpDef, bitlinear.GLUSubLNQuantOp.OpDef} {
		more[op] = conformance.Op{Cases: known[op].Cases}
	}
	return more
}

// TestDevice checks names and what a device says when it cannot be had.
func TestDevice(t *testing.T) {
	if _, err := Device(Options{Off: "-all"}); err == nil || !strings.Contains(err.Error(), "do not have neon") {
		t.Errorf("without features: error %v, want one that names neon", err)
	}
	if _, err := Device(Options{Off: "-nonsense"}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("bad toggle: error %v", err)
	}
	d, err := Device(Options{Off: "-all", Portable: true})
	if err != nil || d.Name() != "generic" || d.Has("neon") {
		t.Errorf("portable device: %v, %v", d, err)
	}
	_ = d.Close()
	for off, want := range map[string]bool{"": true, "-dotprod": false} {
		d := newDevice(t, Options{Off: off})
		if d.Name() != "neon" || !d.Has("neon") || d.Has("dotprod") && !want {
			t.Errorf("with %q off: %s, neon %v, dotprod %v", off, d.Name(), d.Has("neon"), d.Has("dotprod"))
		}
	}
}
