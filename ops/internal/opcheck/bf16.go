package opcheck

import (
	"math"
	"slices"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// bf16 runs the case with the operands that may be bf16 rounded to it. Results
// must be those over the widened operands, rounded once; gradients, through rules
// that round along the way, near those in f32.
func (u *use) bf16() {
	if u.op.BF16 == nil || u.c.In[u.op.BF16.In[0]].Elem != graph.F32 {
		return
	}
	narrow, wide := *u, *u
	narrow.c.In, wide.c.In = slices.Clone(u.c.In), slices.Clone(u.c.In)
	var mixed []graph.Type
	others := 0
	for i, t := range u.c.In {
		mixed = append(mixed, t.Type())
		if u.op.NarrowOperand(i) {
			if i != u.op.BF16.In[0] && t.Elem == graph.F32 {
				others++
			}
			narrow.c.In[i] = round(t, graph.BF16)
			wide.c.In[i], _ = narrow.c.In[i].ToF32()
		}
	}
	// One operand in bf16 beside others in f32 is refused.
	if others > 0 {
		mixed[u.op.BF16.In[0]].Elem = graph.BF16
		if _, err := u.op.InferTypes(u.c.Attrs, mixed); err == nil {
			u.Error("bf16 beside f32 is accepted")
		}
	}
	want, got := wide.mustRun(wide.c.In, 0), narrow.mustRun(narrow.c.In, 0xa5)
	for i := range want {
		if slices.Contains(u.op.BF16.Out, i) {
			want[i] = round(want[i], graph.BF16)
		}
	}
	u.equal("in bf16", want, got)
	narrow.symbolic()
	narrow.asGraph()
	if u.op.View && got[0].Elem != narrow.c.In[0].Elem {
		u.Error("a view changes its operand's element type")
	}
	narrow.nearGradients(&wide)
}

// nearGradients compares the gradients of a case in bf16 with those in f32.
func (u *use) nearGradients(wide *use) {
	wrt := append(slices.Clone(u.c.Wrt), u.c.Through...)
	if len(wrt) == 0 {
		u.noGradient()
		return
	}
	dy, grads := u.grad(wrt)
	_, want := wide.gradOf(wrt, dy)
	for i, op := range wrt {
		g := grads[i]
		if !g.Type().Equal(u.c.In[op].Type()) {
			u.Fatalf("the gradient of operand %d is %s, want %s", op, g.Type(), u.c.In[op].Type())
		}
		var off, norm float64
		for j := range g.Len() {
			d := g.FloatAt(j) - want[i].FloatAt(j)
			off += d * d
			norm += want[i].FloatAt(j) * want[i].FloatAt(j)
		}
		// A handful of roundings of 2⁻⁹ each.
		if off, norm = math.Sqrt(off), math.Sqrt(norm); !(off <= 0.02*norm+1e-6) {
			u.Errorf("operand %d: the gradient in bf16 is off by %.2g of the norm %g", op, off/norm, norm)
		}
	}
}

// cotangent draws a gradient for the result y, as it arrives at it.
func cotangent(y graph.Value, draw func(dims ...int) graph.Tensor) (graph.Tensor, error) {
	dims, err := y.Type().Shape.Eval(nil)
	if err != nil {
		return graph.Tensor{}, err
	}
	return round(draw(dims...), y.Type().Elem).ToF32()
}

// widened is y in f32.
func widened(y graph.Value) graph.Value {
	if y.Type().Elem == graph.F32 {
		return y
	}
	return ops.Cast(y, graph.F32)
}
