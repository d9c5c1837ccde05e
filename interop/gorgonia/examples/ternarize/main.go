// Command ternarize takes two models from Gorgonia, an MLP and a transformer
// block, makes their matrices ternary, trains them and runs them compiled. It
// measures trit against Gorgonia's own machines, interleaved in one run, and
// prints the median times.
//
//	go run github.com/trit-ml/trit/interop/gorgonia/examples/ternarize
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/trit-ml/trit/devices/auto"
	bridge "github.com/trit-ml/trit/interop/gorgonia"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

func main() {
	rounds := flag.Int("rounds", 7, "measurements of each machine")
	steps := flag.Int("steps", 60, "training steps of the ternarized model")
	flag.Parse()
	for _, m := range []struct {
		name  string
		build build
	}{{"MLP 256-512-512-32, batch 64", mlp}, {"transformer block, 64 tokens of 256, 4 heads", block}} {
		if err := run(m.name, m.build, *rounds, *steps); err != nil {
			fmt.Fprintln(os.Stderr, "ternarize:", err)
			os.Exit(1)
		}
	}
}

// contender is one way to train or to run a model.
type contender struct {
	name  string
	step  func() error
	times []time.Duration
}

func run(name string, build build, rounds, steps int) error {
	ctx := context.Background()
	dev, _, err := auto.Open(auto.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	fmt.Printf("%s\n", name)

	training, losses, err := trainers(ctx, build, dev, steps)
	if err != nil {
		return err
	}
	fmt.Printf("  ternarized and trained: loss %.4f, after %d steps %.4f\n", losses[0], steps, losses[1])
	if err := measure("one training step", training, rounds); err != nil {
		return err
	}
	forward, err := runners(ctx, build, dev)
	if err != nil {
		return err
	}
	return measure("one forward pass", forward, rounds)
}

// measure interleaves the contenders, so that all see the same machine.
func measure(what string, cs []*contender, rounds int) error {
	for i := range rounds + 1 {
		for _, c := range cs {
			start := time.Now()
			if err := c.step(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i > 0 { // the first one allocates
				c.times = append(c.times, time.Since(start))
			}
		}
	}
	base := median(cs[0].times)
	fmt.Printf("  %s\n", what)
	for _, c := range cs {
		t := median(c.times)
		fmt.Printf("    %-46s %8.2f ms  %5.1f×\n", c.name, float64(t.Microseconds())/1e3, float64(base)/float64(t))
	}
	return nil
}

func median(ts []time.Duration) time.Duration {
	ts = slices.Clone(ts)
	slices.Sort(ts)
	return ts[len(ts)/2]
}

// trainers are Gorgonia's tape machine with its own products, with trit's, and
// with BitLinears, then the compiled step. The losses are of the last one.
func trainers(ctx context.Context, build build, dev auto.Closer, steps int) (cs []*contender, losses [2]float64, err error) {
	engine, err := bridge.NewEngine()
	if err != nil {
		return nil, losses, err
	}
	for _, c := range []struct {
		name   string
		linear linear
		opts   []G.VMOpt
	}{
		{"Gorgonia tape machine, f32", G.Mul, nil},
		{"the same with trit's engine", G.Mul, []G.VMOpt{G.WithEngine(engine)}},
		{"the same with BitLinear inside", bridge.BitLinear, []G.VMOpt{G.WithEngine(engine)}},
	} {
		m := build(c.linear)
		if _, err := G.Grad(m.loss, m.weights...); err != nil {
			return nil, losses, err
		}
		tape := G.NewTapeMachine(m.g, append(c.opts, G.BindDualValues(m.weights...))...)
		solver := G.NewAdamSolver(G.WithLearnRate(1e-3))
		cs = append(cs, &contender{name: c.name, step: func() error {
			if err := m.let(); err != nil {
				return err
			}
			if err := tape.RunAll(); err != nil {
				return err
			}
			defer tape.Reset()
			return solver.Step(G.NodesToValueGrads(m.weights))
		}})
	}
	m := build(G.Mul)
	g, params, err := bridge.Import(m.g, G.Nodes{m.loss}, bridge.Inputs(m.x, m.y))
	if err != nil {
		return nil, losses, err
	}
	if g, err = bridge.Ternarize(g, bridge.Named("w*")); err != nil {
		return nil, losses, err
	}
	t, err := bridge.NewTrainer(ctx, g, params, dev, bridge.AdamW{})
	if err != nil {
		return nil, losses, err
	}
	in := map[string]*tensor.Dense{"x": m.xs, "y": m.ys}
	for i := range steps {
		loss, err := t.Step(ctx, in, 1e-3, 0)
		if err != nil {
			return nil, losses, err
		}
		if i == 0 {
			losses[0] = loss
		}
		losses[1] = loss
	}
	cs = append(cs, &contender{name: "imported, ternarized, compiled (" + dev.Name() + ")", step: func() error {
		_, err := t.Step(ctx, in, 1e-3, 0)
		return err
	}})
	return cs, losses, nil
}

// runners are Gorgonia's machines and the compiled graph with ternary weights.
func runners(ctx context.Context, build build, dev auto.Closer) ([]*contender, error) {
	engine, err := bridge.NewEngine()
	if err != nil {
		return nil, err
	}
	var cs []*contender
	for _, c := range []struct {
		name string
		opts []G.VMOpt
	}{{"Gorgonia tape machine, f32", nil}, {"the same with trit's engine", []G.VMOpt{G.WithEngine(engine)}}} {
		m := build(G.Mul)
		if err := m.let(); err != nil {
			return nil, err
		}
		tape := G.NewTapeMachine(m.g, c.opts...)
		cs = append(cs, &contender{name: c.name, step: func() error {
			defer tape.Reset()
			return tape.RunAll()
		}})
	}
	lisp := build(G.Mul)
	if err := lisp.let(); err != nil {
		return nil, err
	}
	cs = append(cs, &contender{name: "Gorgonia lisp machine, f32", step: func() error {
		m := G.NewLispMachine(lisp.g, G.ExecuteFwdOnly())
		defer m.Close()
		return m.RunAll()
	}})
	m := build(G.Mul)
	g, params, err := bridge.Import(m.g, G.Nodes{m.out}, bridge.Inputs(m.x, m.y))
	if err != nil {
		return nil, err
	}
	for _, ternary := range []bool{false, true} {
		name := "imported, f32, compiled (" + dev.Name() + ")"
		if ternary {
			name = "imported, ternarized, compiled (" + dev.Name() + ")"
			if g, err = bridge.Ternarize(g, bridge.Named("w*")); err != nil {
				return nil, err
			}
		}
		machine, err := bridge.NewMachine(ctx, g, params, dev)
		if err != nil {
			return nil, err
		}
		cs = append(cs, &contender{name: name, step: func() error {
			_, err := machine.Run(ctx, map[string]*tensor.Dense{"x": m.xs})
			return err
		}})
	}
	return cs, nil
}
