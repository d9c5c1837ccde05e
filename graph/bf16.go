package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Narrow lists the operands and results of an op that may be bf16 where its type
// rule says f32, by index. The last operand of a variadic op stands for all that
// repeat it.
//
// The first of the operands decides: if it is bf16, all of them must be, and so
// are the listed results. The op then means the same as in f32, over the widened
// operands, with each listed result rounded to bf16 once, half to even. Neither
// its type rule nor its reference need know.
type Narrow struct{ In, Out []int }

// parseNarrow reads "x, dy -> dx" with the operand and result names of op.
func parseNarrow(s string, op *OpDef) (*Narrow, error) {
	if s == "" {
		return nil, nil
	}
	in, out, ok := strings.Cut(s, "->")
	if !ok {
		return nil, fmt.Errorf("BF16 is %q, want operands -> results", s)
	}
	n := &Narrow{}
	for _, f := range []struct {
		list  string
		names []string
		to    *[]int
	}{{in, op.In, &n.In}, {out, op.Out, &n.Out}} {
		names, _ := splitNames(f.list)
		for _, name := range names {
			i := slices.Index(f.names, name)
			if i < 0 {
				return nil, fmt.Errorf("BF16 is %q, but %q is none of %v", s, name, f.names)
			}
			*f.to = append(*f.to, i)
		}
	}
	if len(n.In) == 0 {
		return nil, fmt.Errorf("BF16 is %q, want at least one operand", s)
	}
	return n, nil
}

// InBF16 reports whether a call with operands of the given element types computes
// over bf16 values, as BF16 allows; a fused op does if an op of its body does.
func (op *OpDef) InBF16(elem func(operand int) DType) bool {
	if op.Body == nil {
		return op.BF16 != nil && elem(op.BF16.In[0]) == BF16
	}
	narrow := map[string]bool{}
	for i, name := range op.Body.In {
		narrow[name] = elem(i) == BF16
	}
	for _, st := range op.Body.Stmts {
		if st.Op.InBF16(func(i int) DType {
			if i < len(st.In) && narrow[st.In[i]] {
				return BF16
			}
			return InvalidDType
		}) {
			return true // casts inside a body are its kernel's own affair
		}
	}
	return false
}

// narrows reports whether operand i may be bf16.
func (op *OpDef) narrows(i int) bool {
	return slices.Contains(op.BF16.In, min(i, len(op.In)-1))
}

// NarrowOperand reports whether operand i may be bf16 as BF16, or an op of a fused
// op's body, allows it.
func (op *OpDef) NarrowOperand(i int) bool {
	if op.Body == nil {
		return op.BF16 != nil && op.narrows(i)
	}
	for _, st := range op.Body.Stmts {
		for j, name := range st.In {
			if name == op.Body.In[i] && st.Op.NarrowOperand(j) {
				return true
			}
		}
	}
	return false
}

// widenTypes is what the type rule sees of operands in bf16.
func (op *OpDef) widenTypes(in []Type) ([]Type, error) {
	in = slices.Clone(in)
	for i := range in {
		if !op.narrows(i) {
			continue
		}
		if in[i].Elem != BF16 {
			return nil, fmt.Errorf("%s is bf16, but %s is %s; cast one of them", op.operand(op.BF16.In[0]), op.operand(i), in[i])
		}
		in[i].Elem = F32
	}
	return in, nil
}

// narrowTypes turns the results of the type rule into those of a call in bf16.
func (op *OpDef) narrowTypes(out []Type) []Type {
	out = slices.Clone(out)
	for _, i := range op.BF16.Out {
		if i < len(out) && out[i].Elem == F32 {
			out[i].Elem = BF16
		}
	}
	return out
}

// runWide calls the reference with operands in bf16 widened, and rounds the
// results that are bf16.
func (op *OpDef) runWide(attrs any, in, out []Tensor) error {
	wideIn, wideOut := slices.Clone(in), slices.Clone(out)
	for i, t := range in {
		if !op.narrows(i) {
			continue
		}
		var err error
		if wideIn[i], err = t.ToF32(); err != nil {
			return err
		}
	}
	for i, t := range out {
		if t.Elem == BF16 {
			wideOut[i] = NewTensor(F32, t.Dims...)
		}
	}
	if err := op.ref(attrs, wideIn, wideOut); err != nil {
		return err
	}
	for i, t := range out {
		if t.Elem == BF16 {
			to := t.U16()
			for j, v := range wideOut[i].F32() {
				to[j] = F32ToBF16(v)
			}
		}
	}
	return nil
}
