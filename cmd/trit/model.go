package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/adapter"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/embedded"
	"github.com/trit-ml/trit/passes"
)

// openModel opens a checkpoint, or the embedded model if path is "" or "-".
func openModel(e *env, path string) (*engine.Model, error) {
	if path == "" || path == "-" {
		return engine.OpenFS(embedded.Name, embedded.FS())
	}
	return engine.Open(path, checkpoint.WithI2SOrder(e.order))
}

// resolve is openModel for a name that may also be one on the hub.
func resolve(e *env, name string) (*engine.Model, error) {
	if name != "" && name != "-" && isHubName(name) {
		path, err := fetch(e, name, false)
		if err != nil {
			return nil, err
		}
		name = path
	}
	return openModel(e, name)
}

// adapterFlag lets a verb run a model with a low-rank adapter.
type adapterFlag struct {
	Adapter string `help:"Folder of a low-rank adapter (PEFT's form) to run the model with; without a model, the one it was trained beside." placeholder:"DIR"`
}

// resolve is the function of that name, with the adapter.
func (f adapterFlag) resolve(e *env, name string) (*engine.Model, error) {
	if f.Adapter == "" {
		return resolve(e, name)
	}
	a, err := adapter.Open(f.Adapter)
	if err != nil {
		return nil, err
	}
	if name == "" {
		if name = a.Base; name == "" {
			return nil, fmt.Errorf("%s does not say which model it is for: name one", f.Adapter)
		}
	}
	m, err := resolve(e, name)
	if err != nil {
		return nil, err
	}
	if err := m.Adapt(a); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// subject is the graph that dump and explain look at: a checkpoint's or a
// preset's.
type subject struct {
	Model  string `help:"Checkpoint folder or file; the embedded model by default." placeholder:"PATH" xor:"subject"`
	Preset string `help:"Look at a named configuration without weights: ${presets}." aliases:"synthetic" xor:"subject"`
}

func (s subject) declare(e *env, maxTokens int) (*graph.Graph, func(string) bool, error) {
	if s.Preset != "" {
		cfg, err := bitnet158.Preset(s.Preset)
		if err != nil {
			return nil, nil, err
		}
		g, err := bitnet158.Forward(cfg, maxTokens)
		return g, nil, err
	}
	m, err := resolve(e, s.Model)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	g, err := m.Declare(maxTokens)
	// What is packed is decided now, since the model is closed on return.
	packed := map[string]bool{}
	for _, spec := range m.Config.Specs() {
		packed[spec.Name] = spec.Linear && m.Weights.Packed(spec.Name)
	}
	return g, func(name string) bool { return packed[name] }, err
}

func presetNames() string { return strings.Join(bitnet158.Presets(), ", ") }

// afterPass runs the pipeline up to and including the named pass; "" stops
// before the first one and "last" runs all.
func afterPass(g *graph.Graph, p passes.Pipeline, name string) (*graph.Graph, error) {
	if name == "declared" {
		return g, nil
	}
	if name != "last" {
		i := slices.Index(p.Names(), name)
		if i < 0 {
			return nil, fmt.Errorf("no pass %q; there are declared, %s, last", name, strings.Join(p.Names(), ", "))
		}
		p = p[:i+1]
	}
	return p.Run(g, nil)
}
