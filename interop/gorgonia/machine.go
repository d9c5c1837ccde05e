package gorgonia

import (
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
	"gorgonia.org/tensor"
)

// Machine runs an imported graph, compiled for a device, as Gorgonia's machines
// run an expression graph. BitLinears run as integer products. It is used by one
// goroutine at a time.
type Machine struct {
	g    *graph.Graph // before lowering: its inputs and symbols
	prog *runtime.Program
	run  *runtime.Run
	in   map[string]runtime.Input
	syms []int
}

// NewMachine compiles g for the device and loads its weights.
func NewMachine(ctx context.Context, g *graph.Graph, weights runtime.Source, dev devices.Device) (*Machine, error) {
	lowered, err := passes.Pipeline{
		passes.FoldTransposes(), passes.LowerBitLinear(nil), passes.CSE(), passes.MergeSiblings(), passes.Fold(),
		passes.Fuse(bitlinear.Fused()...), passes.DCE(),
	}.Run(g, nil)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	m := &Machine{g: g}
	if m.prog, err = runtime.Compile(lowered, dev); err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	err = m.prog.Load(ctx, weights)
	if err == nil {
		err = m.open()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gorgonia: %w", err), m.prog.Close())
	}
	return m, nil
}

func (m *Machine) open() (err error) {
	m.in = map[string]runtime.Input{}
	for i, n := range m.prog.Inputs() {
		m.in[graph.SourceName(n)] = runtime.Input(i)
	}
	m.run, err = m.prog.NewRun()
	return err
}

// Program is the compiled graph, to explain or to profile.
func (m *Machine) Program() *runtime.Program { return m.prog }

// Profile runs the program again on the inputs of the last Run, with a
// measurement of each kernel call.
func (m *Machine) Profile(ctx context.Context) ([]runtime.Timing, error) {
	times, err := m.run.Profile(ctx, m.syms...)
	if err != nil {
		return nil, fmt.Errorf("gorgonia: %w", err)
	}
	return times, nil
}

// Run computes the outputs from the inputs, given by name; their shapes give the
// graph's symbols their values. Inputs are read where they lie. The outputs are
// overwritten by the next Run.
func (m *Machine) Run(ctx context.Context, inputs map[string]*tensor.Dense) ([]*tensor.Dense, error) {
	if err := m.step(ctx, inputs); err != nil {
		return nil, err
	}
	outs := make([]*tensor.Dense, len(m.prog.Outputs()))
	for i := range outs {
		t, err := m.run.Output(ctx, i)
		if err == nil {
			outs[i], err = ToDense(t)
		}
		if err != nil {
			return nil, fmt.Errorf("gorgonia: output %d: %w", i, err)
		}
	}
	return outs, nil
}

// step sets the inputs and runs the program once.
func (m *Machine) step(ctx context.Context, inputs map[string]*tensor.Dense) error {
	for name, d := range inputs {
		in, ok := m.in[name]
		if !ok {
			return fmt.Errorf("gorgonia: the graph has no input %q", name)
		}
		t, err := FromDense(d)
		if err == nil && d.Dtype() == tensor.Int {
			t, err = narrow(d.Ints(), t.Dims)
		}
		if err != nil {
			return fmt.Errorf("gorgonia: input %q: %w", name, err)
		}
		m.run.Set(in, t)
	}
	syms, err := graph.BindSyms(m.g, func(n *graph.Node) ([]int, bool) {
		d, ok := inputs[graph.SourceName(n)]
		if !ok {
			return nil, false
		}
		return d.Shape(), true
	})
	if err != nil {
		return fmt.Errorf("gorgonia: %w", err)
	}
	m.syms = m.syms[:0]
	for _, s := range m.prog.Syms() {
		m.syms = append(m.syms, syms[s.Name])
	}
	if err := m.run.Step(ctx, m.syms...); err != nil {
		return fmt.Errorf("gorgonia: %w", err)
	}
	return nil
}

// narrow copies indices to the 32 bits that they have in trit.
func narrow(vals []int, dims []int) (graph.Tensor, error) {
	t := graph.NewTensor(graph.I32, dims...)
	for i, v := range vals {
		if int(int32(v)) != v {
			return t, fmt.Errorf("index %d at %d does not fit 32 bits", v, i)
		}
		t.I32()[i] = int32(v)
	}
	return t, nil
}

// Close frees what the machine holds.
func (m *Machine) Close() error { return errors.Join(m.run.Close(), m.prog.Close()) }
