package gorgonia

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/trit-ml/trit/graph"
	"gorgonia.org/tensor"
)

// elem is the trit element type that has the same bytes.
func elem(dt tensor.Dtype) (graph.DType, bool) {
	switch dt {
	case tensor.Float32:
		return graph.F32, true
	case tensor.Float64:
		return graph.F64, true
	case tensor.Int8:
		return graph.I8, true
	case tensor.Int32:
		return graph.I32, true
	case tensor.Int64:
		return graph.I64, true
	case tensor.Uint8:
		return graph.U8, true
	case tensor.Int:
		return graph.I64, unsafe.Sizeof(int(0)) == 8
	}
	return graph.InvalidDType, false
}

// FromDense returns d as a tensor over the same memory: a change of one is a
// change of the other. Element types that trit lacks, masks, and layouts other
// than contiguous row-major ones are errors.
func FromDense(d *tensor.Dense) (graph.Tensor, error) {
	if d == nil {
		return graph.Tensor{}, errors.New("the tensor is nil")
	}
	e, ok := elem(d.Dtype())
	if !ok {
		return graph.Tensor{}, fmt.Errorf("element type %v has no counterpart; use float32", d.Dtype())
	}
	dims := slices.Clone([]int(d.Shape()))
	n, err := graph.Count(dims)
	if err != nil {
		return graph.Tensor{}, err
	}
	switch {
	case n > 0 && d.IsMasked():
		return graph.Tensor{}, errors.New("the tensor is masked; fill the mask first")
	case !d.IsNativelyAccessible():
		return graph.Tensor{}, errors.New("the tensor's memory is not accessible; copy it to the host first")
	case n > 0 && !rowMajor(dims, d.Strides()):
		return graph.Tensor{}, fmt.Errorf("shape %v has strides %v, not those of a contiguous row-major tensor; materialize it first", dims, d.Strides())
	case int(d.MemSize()) < n*e.Size():
		return graph.Tensor{}, fmt.Errorf("shape %v needs %d bytes, the tensor has %d", dims, n*e.Size(), d.MemSize())
	case n == 0:
		return graph.NewTensor(e, dims...), nil
	}
	return graph.Tensor{Elem: e, Dims: dims, Data: memory(d)[:n*e.Size()]}, nil
}

// memory is the tensor's memory, of one of the types that elem knows.
func memory(d *tensor.Dense) []byte {
	switch d.Dtype() {
	case tensor.Float32:
		return bytesOf(d.Float32s())
	case tensor.Float64:
		return bytesOf(d.Float64s())
	case tensor.Int8:
		return bytesOf(d.Int8s())
	case tensor.Int32:
		return bytesOf(d.Int32s())
	case tensor.Int64:
		return bytesOf(d.Int64s())
	case tensor.Int:
		return bytesOf(d.Ints())
	}
	return d.Uint8s()
}

func bytesOf[E any](s []E) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// rowMajor reports whether the strides are those of a contiguous row-major
// tensor; an axis of extent 1 may have any.
func rowMajor(dims, strides []int) bool {
	if len(strides) != len(dims) {
		// Gorgonia gives column and row vectors a single stride.
		return len(strides) == 0 || len(strides) == 1 && strides[0] == 1
	}
	for i, s := len(dims)-1, 1; i >= 0; i-- {
		if dims[i] > 1 && strides[i] != s {
			return false
		}
		s *= dims[i]
	}
	return true
}

// ToDense returns t as a Gorgonia tensor over the same memory. The ternary codes
// of a tern tensor become int8; half-precision types have no counterpart.
func ToDense(t graph.Tensor) (*tensor.Dense, error) {
	n, err := graph.Count(t.Dims)
	switch {
	case err != nil:
		return nil, err
	case t.Elem.Size() == 0 || n*t.Elem.Size() != len(t.Data):
		return nil, fmt.Errorf("%s has %d bytes", t.Type(), len(t.Data))
	case n == 0:
		return nil, fmt.Errorf("%s is empty, which Gorgonia does not represent", t.Type())
	}
	var backing any
	switch t.Elem {
	case graph.F32:
		backing = t.F32()
	case graph.F64:
		backing = t.F64()
	case graph.I8, graph.Tern:
		backing = t.I8()
	case graph.I32:
		backing = t.I32()
	case graph.I64:
		backing = t.I64()
	case graph.U8:
		backing = []uint8(t.Data)
	default:
		return nil, fmt.Errorf("%s has no counterpart; widen it to f32", t.Type())
	}
	return tensor.New(tensor.WithShape(t.Dims...), tensor.WithBacking(backing)), nil
}
