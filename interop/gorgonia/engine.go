package gorgonia

import (
	"github.com/trit-ml/trit/graph"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

// Engine is Gorgonia's standard engine with trit's f32 kernels under MatMul. Give
// it to tensors with tensor.WithEngine, or to a machine with G.WithEngine. Values
// differ from the standard engine's by rounding.
type Engine struct {
	G.StandardEngine
	k *kernels
}

// NewEngine returns an engine; all engines share one set of workers.
func NewEngine() (Engine, error) {
	k, err := shared()
	return Engine{k: k}, err
}

const (
	// smallProduct is the number of multiply-adds up to which the standard engine
	// is as fast, because a call of a kernel costs some microseconds.
	smallProduct = 1 << 13
	// fewRows of a do not repay packing b, unless b is read transposed: then no
	// packing is needed.
	fewRows = 2
)

// MatMul implements tensor.MatMuler. Operands that are not contiguous float32
// matrices, transposed or not, are left to the standard engine.
func (e Engine) MatMul(a, b, prealloc tensor.Tensor) error {
	x, ta, okA := stored(a)
	w, tb, okB := stored(b)
	y, ty, okY := stored(prealloc)
	ok := e.k != nil && okA && okB && okY && !ty
	if m := a.Shape()[0]; !ok || m*b.Shape().TotalSize() <= smallProduct || m <= fewRows && !tb {
		return e.StandardEngine.MatMul(a, b, prealloc)
	}
	return matMul(e.k, y, x, w, ta, tb)
}

// stored is a float32 matrix as its memory holds it, and whether t reads it
// transposed.
func stored(t tensor.Tensor) (m graph.Tensor, transposed, ok bool) {
	d, ok := t.(*tensor.Dense)
	if !ok || d.Dtype() != tensor.Float32 || d.Dims() != 2 || d.IsMasked() || !d.IsNativelyAccessible() {
		return m, false, false
	}
	rows, cols := d.Shape()[0], d.Shape()[1]
	n, s := rows*cols, d.Strides()
	switch {
	case n == 0 || len(s) != 2 || len(d.Float32s()) < n:
		return m, false, false
	case s[1] == 1 && s[0] == cols:
		m.Dims = []int{rows, cols}
	case s[0] == 1 && s[1] == rows:
		m.Dims, transposed = []int{cols, rows}, true
	default:
		return m, false, false
	}
	m.Elem, m.Data = graph.F32, bytesOf(d.Float32s()[:n])
	return m, transposed, true
}
