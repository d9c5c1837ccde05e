// Package opcheck tests ops against what their definitions promise: types,
// references, gradients, row independence and updates. Every op needs a case;
// one without fails the test.
package opcheck

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
)

// Case is one use of an op. Every differentiable op needs Wrt or Through; an op
// without a gradient has neither.
type Case struct {
	Name  string
	Attrs any
	In    []graph.Tensor

	// Sym is an extent that stands for the symbol S wherever it occurs: the
	// op must give the same types symbolically, and take S = 0 unless
	// NotEmpty.
	Sym      int
	NotEmpty bool

	Wrt     []int   // operands checked by finite differences
	Through []int   // operands whose gradient is the first result's, unchanged
	Tol     float64 // of Wrt, relative to the gradient's norm; 0 is 1e-4
}

// Run checks every op of ops against its cases.
func Run(t *testing.T, ops []*graph.OpDef, cases map[string][]Case) {
	known := map[string]bool{}
	for _, op := range ops {
		known[op.Name] = true
		if len(cases[op.Name]) == 0 {
			t.Errorf("op %s has no test case", op.Name)
		}
		if op.Doc == "" {
			t.Errorf("op %s has no doc", op.Name)
		}
		rowsChecked := len(op.Rowwise) == 0
		for i, c := range cases[op.Name] {
			name := op.Name
			if c.Name != "" {
				name += "/" + c.Name
			} else if i > 0 {
				name += fmt.Sprintf("/%d", i)
			}
			t.Run(name, func(t *testing.T) {
				u := &use{t, op, c}
				u.reference()
				u.symbolic()
				u.refusals()
				rowsChecked = u.rows() || rowsChecked
				u.commuted()
				u.asGraph()
				u.gradients()
				u.bf16()
			})
		}
		if !rowsChecked {
			t.Errorf("op %s is row-wise, but no case has rows", op.Name)
		}
	}
	for name := range cases {
		if !known[name] {
			t.Errorf("cases for %s, which is no op", name)
		}
	}
}

// use is one op under test with one case.
type use struct {
	*testing.T
	op *graph.OpDef
	c  Case
}

func typesOf(ts []graph.Tensor) []graph.Type {
	out := make([]graph.Type, len(ts))
	for i, t := range ts {
		out[i] = t.Type()
	}
	return out
}

// infer and run apply the op to other operands than the case's, with results
// allocated over the given filler.
func (u *use) run(in []graph.Tensor, fill byte) ([]graph.Tensor, error) {
	types, err := u.op.InferTypes(u.c.Attrs, typesOf(in))
	if err != nil {
		return nil, err
	}
	out := make([]graph.Tensor, len(types))
	for i, t := range types {
		dims, err := t.Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		out[i] = graph.NewTensor(t.Elem, dims...)
		for j := range out[i].Data {
			out[i].Data[j] = fill
		}
	}
	return out, u.op.Run(u.c.Attrs, in, out)
}

func (u *use) mustRun(in []graph.Tensor, fill byte) []graph.Tensor {
	u.Helper()
	out, err := u.run(in, fill)
	if err != nil {
		u.Fatal(err)
	}
	return out
}

func (u *use) equal(what string, want, got []graph.Tensor) {
	u.Helper()
	if len(want) != len(got) {
		u.Fatalf("%s: %d results, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !want[i].Type().Equal(got[i].Type()) || !bytes.Equal(want[i].Data, got[i].Data) {
			u.Errorf("%s: %s differs: %s and %s", what, u.op.Out[i], want[i].Type(), got[i].Type())
		}
	}
}

// reference runs the op twice, over clean and over dirty memory; neither the
// memory nor the operands may show.
func (u *use) reference() {
	in := make([]graph.Tensor, len(u.c.In))
	for i, t := range u.c.In {
		in[i] = t.Clone()
	}
	out := u.mustRun(in, 0)
	u.equal("over dirty memory", out, u.mustRun(in, 0xa5))
	for i := range in {
		if !bytes.Equal(in[i].Data, u.c.In[i].Data) {
			u.Errorf("operand %d was changed", i)
		}
	}
	if u.op.View && !bytes.Equal(out[0].Data, in[0].Data) {
		u.Error("a view changes its operand")
	}
}

// symbolic infers types with the symbol in place of its extent.
func (u *use) symbolic() {
	if u.c.Sym == 0 {
		return
	}
	in := typesOf(u.c.In)
	for i := range in {
		in[i].Layout = "packed" // type rules must not see layouts
		for j, d := range in[i].Shape {
			if d == graph.C(u.c.Sym) {
				in[i].Shape[j] = graph.Dim{Sym: "S", Mul: 1}
			}
		}
	}
	out, err := u.op.InferTypes(u.c.Attrs, in)
	if err != nil {
		u.Fatal(err)
	}
	for i, t := range u.mustRun(u.c.In, 0) {
		dims, err := out[i].Shape.Eval(map[string]int{"S": u.c.Sym})
		if err != nil || !slices.Equal(dims, t.Dims) || out[i].Elem != t.Elem || out[i].Layout != "" {
			u.Errorf("%s is %s symbolically, %s in fact (%v)", u.op.Out[i], out[i], t.Type(), err)
		}
	}
	if _, err := u.run(resize(u.c.In, u.c.Sym, 0), 0); err != nil && !u.c.NotEmpty {
		u.Errorf("no rows: %v", err)
	}
}

// resize returns zero tensors with the extent from replaced by to.
func resize(in []graph.Tensor, from, to int) []graph.Tensor {
	out := make([]graph.Tensor, len(in))
	for i, t := range in {
		dims := slices.Clone(t.Dims)
		for j := range dims {
			if dims[j] == from {
				dims[j] = to
			}
		}
		out[i] = graph.NewTensor(t.Elem, dims...)
	}
	return out
}

// refusals gives the op operands of wrong number, element type and shape. The
// first two must be refused; a shape may be legal, but then the reference must
// cope with it.
func (u *use) refusals() {
	types := typesOf(u.c.In)
	if _, err := u.op.InferTypes(u.c.Attrs, types[:len(types)-1]); err == nil && !u.op.Variadic {
		u.Error("a missing operand is accepted")
	}
	if _, err := u.op.InferTypes(u.c.Attrs, append(slices.Clone(types), types[0])); err == nil && !u.op.Variadic {
		u.Error("a superfluous operand is accepted")
	}
	if _, err := u.op.InferTypes(struct{ X int }{}, types); err == nil {
		u.Error("foreign attributes are accepted")
	}
	for i, t := range u.c.In {
		wrong := slices.Clone(types)
		wrong[i].Elem = graph.I64
		if _, err := u.op.InferTypes(u.c.Attrs, wrong); err == nil {
			u.Errorf("operand %d is accepted as i64", i)
		} else if strings.TrimSpace(err.Error()) == "" {
			u.Error("an empty error")
		}
		shapes := [][]int{append(slices.Clone(t.Dims), 2), {}, {0}}
		for j := range t.Dims {
			more, none := slices.Clone(t.Dims), slices.Clone(t.Dims)
			more[j]++
			none[j] = 0
			shapes = append(shapes, more, none)
		}
		for _, dims := range shapes {
			in := slices.Clone(u.c.In)
			in[i] = graph.NewTensor(t.Elem, dims...)
			u.run(in, 0) // an error or a result, no panic
		}
	}
}

// rows checks Rowwise: picking rows of those operands picks rows of the results.
// It reports whether the case has rows, that is, operands and results with the
// same leading extent.
func (u *use) rows() bool {
	if len(u.op.Rowwise) == 0 {
		return false
	}
	first := u.c.In[u.op.Rowwise[0]]
	if len(first.Dims) == 0 || first.Dims[0] < 2 {
		return false
	}
	n := first.Dims[0]
	for _, t := range u.mustRun(u.c.In, 0) {
		if len(t.Dims) == 0 || t.Dims[0] != n {
			return false
		}
	}
	pick := []int{n - 1, 0, n - 1}
	in := slices.Clone(u.c.In)
	for _, i := range u.op.Rowwise {
		if len(in[i].Dims) > 0 && in[i].Dims[0] == n {
			in[i] = pickRows(in[i], pick)
		}
	}
	var want []graph.Tensor
	for _, t := range u.mustRun(u.c.In, 0) {
		want = append(want, pickRows(t, pick))
	}
	u.equal("picked rows", want, u.mustRun(in, 0))
	return true
}

func pickRows(t graph.Tensor, rows []int) graph.Tensor {
	dims := slices.Clone(t.Dims)
	size := len(t.Data) / dims[0]
	dims[0] = len(rows)
	out := graph.NewTensor(t.Elem, dims...)
	for i, r := range rows {
		copy(out.Data[i*size:(i+1)*size], t.Data[r*size:])
	}
	return out
}

// commuted exchanges the first two operands of an op that says it may.
func (u *use) commuted() {
	if !u.op.Commutes || !u.c.In[0].Type().Equal(u.c.In[1].Type()) {
		return
	}
	in := slices.Clone(u.c.In)
	in[0], in[1] = in[1], in[0]
	u.equal("commuted", u.mustRun(u.c.In, 0), u.mustRun(in, 0))
}

// build makes a graph of one use of the op: updated operands are states, the
// others params.
func (u *use) build() (*graph.Builder, []graph.Value, graph.Env) {
	b := graph.NewBuilder("use")
	env := graph.Env{Params: map[string]graph.Tensor{}, States: map[string]graph.Tensor{}}
	in := make([]graph.Value, len(u.c.In))
	for i, t := range u.c.In {
		name := fmt.Sprintf("in%d", i)
		if slices.ContainsFunc(u.op.Updates, func(up graph.Update) bool { return up.In == i }) {
			in[i] = b.State(name, t.Elem, graph.Dims(t.Dims...)...)
			env.States[name] = t
		} else {
			in[i] = b.Param(name, t.Elem, t.Dims...)
			env.Params[name] = t
		}
	}
	return b, in, env
}

// asGraph evaluates the op as a graph, also after printing and parsing it, and
// compares with the direct run; updated states must hold their results.
func (u *use) asGraph() {
	b, in, env := u.build()
	outs := b.Emit(u.op, u.c.Attrs, in...)
	g, err := b.Finish(outs...)
	if err != nil {
		u.Fatal(err)
	}
	back, err := graph.Parse(strings.NewReader(g.String()), graph.NewOpSet(u.op))
	if err != nil {
		u.Fatalf("%v\n%s", err, g)
	}
	want := u.mustRun(u.c.In, 0)
	for _, g := range []*graph.Graph{g, back} {
		res, err := graph.Eval(g, env)
		if err != nil {
			u.Fatal(err)
		}
		u.equal("as a graph", want, res.Outs)
		for _, up := range u.op.Updates {
			u.equal("final state", want[up.Out:up.Out+1], []graph.Tensor{res.States[fmt.Sprintf("in%d", up.In)]})
		}
	}
}
