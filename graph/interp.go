package graph

import (
	"errors"
	"fmt"
)

// Env supplies a graph's sources by name. States may be left out: a missing
// state starts as zeros.
type Env struct {
	Inputs, Params, States map[string]Tensor
}

// Result is what Eval returns.
type Result struct {
	Outs   []Tensor
	States map[string]Tensor // final values
	Values map[Value]Tensor  // every value, for inspection
}

// Eval runs g through the ops' reference implementations: the oracle for every
// pass and every device. Symbols take their values from the inputs' shapes.
func Eval(g *Graph, env Env) (*Result, error) {
	syms, err := BindSyms(g, func(n *Node) ([]int, bool) {
		t, ok := env.Inputs[SourceName(n)]
		return t.Dims, ok
	})
	if err != nil {
		return nil, err
	}
	res := &Result{Values: map[Value]Tensor{}, States: map[string]Tensor{}}
	res.Outs, err = evalInto(res.Values, g.Nodes, g.Outs, syms, env)
	if err != nil {
		return nil, err
	}
	for _, n := range g.States() {
		res.States[SourceName(n)] = res.Values[g.FinalState(n)]
	}
	return res, nil
}

// BindSyms solves the graph's symbols from the extents of its inputs and checks
// every input's shape and every symbol's bounds.
func BindSyms(g *Graph, dims func(input *Node) ([]int, bool)) (map[string]int, error) {
	syms := map[string]int{}
	var errs []error
	for _, n := range g.Inputs() {
		got, ok := dims(n)
		if !ok {
			errs = append(errs, fmt.Errorf("input %q is missing", SourceName(n)))
			continue
		}
		t := n.Out[0]
		bad := len(got) != len(t.Shape)
		for i := 0; i < len(got) && !bad; i++ {
			d := t.Shape[i]
			if d.Sym == "" {
				bad = d.Add != got[i]
				continue
			}
			v := got[i] - d.Add
			if d.Mul == 0 || v%d.Mul != 0 {
				bad = true
				continue
			}
			if old, ok := syms[d.Sym]; ok && old != v/d.Mul {
				bad = true
				continue
			}
			syms[d.Sym] = v / d.Mul
		}
		if bad {
			errs = append(errs, fmt.Errorf("input %q is %v, want %s (known symbols %v)", SourceName(n), got, t, syms))
		}
	}
	for _, s := range g.Syms {
		if v, ok := syms[s.Name]; ok && (v < s.Min || v > s.Max) {
			errs = append(errs, fmt.Errorf("symbol %s is %d, allowed is %d..%d", s.Name, v, s.Min, s.Max))
		}
	}
	return syms, errors.Join(errs...)
}

func evalNodes(nodes []*Node, outs []Value, syms map[string]int, env Env) ([]Tensor, error) {
	return evalInto(map[Value]Tensor{}, nodes, outs, syms, env)
}

func evalInto(vals map[Value]Tensor, nodes []*Node, outs []Value, syms map[string]int, env Env) ([]Tensor, error) {
	for _, n := range nodes {
		if err := evalNode(vals, n, syms, env); err != nil {
			return nil, fmt.Errorf("%s: %w", n.Where(), err)
		}
	}
	res := make([]Tensor, len(outs))
	for i, v := range outs {
		res[i] = vals[v]
	}
	return res, nil
}

func evalNode(vals map[Value]Tensor, n *Node, syms map[string]int, env Env) error {
	out := make([]Tensor, len(n.Out))
	for i, t := range n.Out {
		dims, err := t.Shape.Eval(syms)
		if err != nil {
			return err
		}
		if !IsSource(n.Op) {
			if _, err := Count(dims); err != nil {
				return err
			}
			out[i] = NewTensor(t.Elem, dims...)
			continue
		}
		src, err := sourceTensor(n, dims, env)
		if err != nil {
			return err
		}
		out[i] = src
	}
	if !IsSource(n.Op) {
		in := make([]Tensor, len(n.In))
		for i, v := range n.In {
			in[i] = vals[v]
		}
		if err := n.Op.Run(n.Attrs, in, out); err != nil {
			return err
		}
	}
	for i := range out {
		vals[n.Result(i)] = out[i]
	}
	return nil
}

func sourceTensor(n *Node, dims []int, env Env) (Tensor, error) {
	if n.Op == ConstOp.OpDef {
		t, ok := ConstTensor(n)
		if !ok {
			return t, errors.New("bad constant")
		}
		return t, nil
	}
	name := SourceName(n)
	var t Tensor
	var ok bool
	switch n.Op {
	case InputOp.OpDef:
		t, ok = env.Inputs[name]
	case ParamOp.OpDef:
		t, ok = env.Params[name]
	case StateOp.OpDef:
		if t, ok = env.States[name]; !ok {
			if _, err := Count(dims); err != nil {
				return t, err
			}
			return NewTensor(n.Out[0].Elem, dims...), nil
		}
	}
	if !ok {
		return t, fmt.Errorf("%s %q is missing", n.Op.Name, name)
	}
	want := Type{Elem: n.Out[0].Elem, Shape: Dims(dims...)}
	if !t.Type().Equal(want) {
		return t, fmt.Errorf("%s %q is %s, want %s", n.Op.Name, name, t.Type(), want)
	}
	if count, err := Count(dims); err != nil || count*t.Elem.Size() != len(t.Data) {
		return t, fmt.Errorf("%s %q is %s with %d bytes", n.Op.Name, name, want, len(t.Data))
	}
	return t, nil
}
