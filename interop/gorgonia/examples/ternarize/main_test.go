package main

import (
	"context"
	"math"
	"testing"

	"github.com/trit-ml/trit/devices/auto"
	bridge "github.com/trit-ml/trit/interop/gorgonia"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

var models = map[string]build{"mlp": mlp, "block": block}

// TestImportedModels compares both models, run compiled, with Gorgonia's tape
// machine.
func TestImportedModels(t *testing.T) {
	ctx := context.Background()
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for name, build := range models {
		m := build(G.Mul)
		g, params, err := bridge.Import(m.g, G.Nodes{m.out, m.loss})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		machine, err := bridge.NewMachine(ctx, g, params, dev)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		outs, err := machine.Run(ctx, map[string]*tensor.Dense{"x": m.xs, "y": m.ys})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := m.let(); err != nil {
			t.Fatal(err)
		}
		var out G.Value // read: the machine works in place
		G.Read(m.out, &out)
		tape := G.NewTapeMachine(m.g)
		if err := tape.RunAll(); err != nil {
			t.Fatal(err)
		}
		want := out.Data().([]float32)
		most := 0.0
		for _, v := range want {
			most = max(most, math.Abs(float64(v)))
		}
		for i, v := range outs[0].Float32s() {
			if e := math.Abs(float64(v-want[i])) / most; !(e < 1e-5) {
				t.Errorf("%s: output %d is %g, Gorgonia's %g", name, i, v, want[i])
				break
			}
		}
		if loss := m.loss.Value().Data().(float32); math.Abs(float64(outs[1].Float32s()[0]/loss-1)) > 1e-5 {
			t.Errorf("%s: the loss is %v, Gorgonia's %g", name, outs[1].Float32s(), loss)
		}
		if err := machine.Close(); err != nil {
			t.Error(err)
		}
		tape.Close()
	}
}

// TestContenders runs everything that the command measures once, and trains.
func TestContenders(t *testing.T) {
	ctx := context.Background()
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, build := range models {
		cs, losses, err := trainers(ctx, build, dev, 20)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !(losses[1] < 0.5*losses[0]) {
			t.Errorf("%s: the loss goes from %g to %g", name, losses[0], losses[1])
		}
		more, err := runners(ctx, build, dev)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, c := range append(cs, more...) {
			if err := c.step(); err != nil {
				t.Errorf("%s: %s: %v", name, c.name, err)
			}
		}
	}
}
