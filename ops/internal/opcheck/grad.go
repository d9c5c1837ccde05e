package opcheck

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// gradients differentiates Σ dy ⊙ y, y the op's first result and dy random, with
// respect to the case's operands.
func (u *use) gradients() {
	wrt := append(slices.Clone(u.c.Wrt), u.c.Through...)
	if len(wrt) == 0 {
		u.noGradient()
		return
	}
	dy, grads := u.grad(wrt)
	for i, op := range wrt {
		g := grads[i]
		if !g.Type().Equal(u.c.In[op].Type()) {
			u.Fatalf("the gradient of operand %d is %s, want %s", op, g.Type(), u.c.In[op].Type())
		}
		if i < len(u.c.Wrt) {
			u.finiteDifference(op, dy, g)
		} else {
			if want := round(dy, g.Elem); !bytes.Equal(want.Data, g.Data) {
				u.Fatalf("operand %d: the straight-through gradient is not the result's", op)
			}
		}
	}
}

// noGradient demands that the op refuses to be differentiated.
func (u *use) noGradient() {
	for i, t := range u.c.In {
		if !t.Elem.IsFloat() {
			continue
		}
		b, in, _ := u.build()
		for _, y := range b.Emit(u.op, u.c.Attrs, in...) {
			if !y.Type().Elem.IsFloat() {
				continue
			}
			if _, err := graph.Gradients(b, ops.Sum(ops.Cast(y, graph.F32)), in[i:i+1], ops.Add); !errors.Is(err, graph.ErrNoGrad) {
				u.Errorf("the op has a gradient that no case checks (%v)", err)
			}
			break
		}
	}
}

// round returns the f32 tensor t in another floating-point type.
func round(t graph.Tensor, elem graph.DType) graph.Tensor {
	out := graph.NewTensor(elem, t.Dims...)
	for i, v := range t.F32() {
		switch elem {
		case graph.F32:
			out.F32()[i] = v
		case graph.BF16:
			out.U16()[i] = graph.F32ToBF16(v)
		case graph.F16:
			out.U16()[i] = graph.F32ToF16(v)
		}
	}
	return out
}

// grad draws dy and returns the gradients of the given operands for it.
func (u *use) grad(wrt []int) (dy graph.Tensor, grads []graph.Tensor) {
	return u.gradOf(wrt, graph.Tensor{})
}

// gradOf is grad for a given dy; an empty one is drawn.
func (u *use) gradOf(wrt []int, dy graph.Tensor) (graph.Tensor, []graph.Tensor) {
	b, in, env := u.build()
	y := b.Emit(u.op, u.c.Attrs, in...)[0]
	if dy.Elem != graph.F32 {
		var err error
		r := rand.New(rand.NewPCG(11, 7))
		if dy, err = cotangent(y, func(dims ...int) graph.Tensor { return Normal(r, dims...) }); err != nil {
			u.Fatal(err)
		}
	}
	env.Params["dy"] = dy
	var vals []graph.Value
	for _, i := range wrt {
		vals = append(vals, in[i])
	}
	ds, err := graph.Gradients(b, ops.Sum(ops.Mul(widened(y), b.Param("dy", graph.F32, dy.Dims...))), vals, ops.Add)
	if err != nil {
		u.Fatal(err)
	}
	for i, d := range ds {
		if !d.Valid() {
			u.Fatalf("operand %d has no gradient", wrt[i])
		}
	}
	g, err := b.Finish(ds...)
	if err != nil {
		u.Fatal(err)
	}
	res, err := graph.Eval(g, env)
	if err != nil {
		u.Fatal(err)
	}
	return dy, res.Outs
}

// loss is Σ dy ⊙ y in f64 for the case with operand i replaced.
func (u *use) loss(dy graph.Tensor, i int, x graph.Tensor) float64 {
	in := slices.Clone(u.c.In)
	in[i] = x
	y := u.mustRun(in, 0)[0]
	var s float64
	for j := range y.Len() {
		s += float64(dy.F32()[j]) * y.FloatAt(j)
	}
	return s
}

// finiteDifference compares the gradient g of operand i with central
// differences, extrapolated to fourth order, along random directions. An operand
// of half precision moves in f32; its gradient is half as precise.
func (u *use) finiteDifference(i int, dy, g graph.Tensor) {
	tol := u.c.Tol
	if tol == 0 {
		tol = 1e-4
	}
	r := rand.New(rand.NewPCG(uint64(i), 3))
	wide, err := u.c.In[i].ToF32()
	if err != nil {
		u.Fatal(err)
	}
	x := wide.F32()
	if g.Elem != graph.F32 {
		tol = max(tol, 1e-2)
	}
	var norm float64
	for j := range g.Len() {
		norm += g.FloatAt(j) * g.FloatAt(j)
	}
	norm = max(math.Sqrt(norm), 1e-3)
	for range 4 {
		dir := Normal(r, u.c.In[i].Dims...)
		var want float64
		for j, v := range dir.F32() {
			want += g.FloatAt(j) * float64(v)
		}
		slope := func(h float64) float64 {
			at := func(h float64) float64 {
				moved := wide.Clone()
				for j := range x {
					moved.F32()[j] = float32(float64(x[j]) + h*float64(dir.F32()[j]))
				}
				return u.loss(dy, i, moved)
			}
			return (at(h) - at(-h)) / (2 * h)
		}
		const h = 1.0 / 64
		got := (4*slope(h/2) - slope(h)) / 3
		if e := math.Abs(got-want) / norm; !(e <= tol) {
			u.Errorf("operand %d: the slope is %g, the gradient says %g (off by %.2g of the norm %g)", i, got, want, e, norm)
		} else {
			u.Logf("operand %d: off by %.2g of the norm", i, e)
		}
	}
}

// Normal returns an f32 tensor of standard normal values.
func Normal(r *rand.Rand, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64())
	}
	return t
}

// Ints returns an i32 tensor of values below n.
func Ints(r *rand.Rand, n int, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.I32, dims...)
	for i := range t.I32() {
		t.I32()[i] = r.Int32N(int32(n))
	}
	return t
}

// Codes returns an i8 or tern tensor of values from lo to hi.
func Codes(r *rand.Rand, elem graph.DType, lo, hi int, dims ...int) graph.Tensor {
	t := graph.NewTensor(elem, dims...)
	for i := range t.I8() {
		t.I8()[i] = int8(lo + r.IntN(hi-lo+1))
	}
	return t
}
