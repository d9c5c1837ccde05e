package graph

import (
	"fmt"
	"math"
	"unsafe"
)

// Tensor is a dense row-major array in host memory. Data holds the elements in
// the machine's byte order (little-endian on every supported platform) and may
// alias memory that the tensor does not own, such as a mapped file.
type Tensor struct {
	Elem DType
	Dims []int
	Data []byte
}

// MaxElements bounds the number of elements of one tensor, so that sizes read
// from untrusted files cannot overflow.
const MaxElements = 1 << 40

// Count returns the product of dims, or an error if one is negative or the
// product exceeds MaxElements. A zero does not excuse the other extents, so that
// products of some of them cannot overflow either.
func Count(dims []int) (int, error) {
	n, empty := 1, false
	for _, d := range dims {
		switch {
		case d < 0:
			return 0, fmt.Errorf("negative dimension in %v", dims)
		case d == 0:
			empty = true
		case n > MaxElements/d:
			return 0, fmt.Errorf("shape %v has more than 2^40 elements", dims)
		default:
			n *= d
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// NewTensor allocates a zeroed tensor, aligned for every element type. A shape
// that Count refuses gives an empty tensor of shape [0]; check
// extents that come from outside with Count first.
func NewTensor(elem DType, dims ...int) Tensor {
	n, err := Count(dims)
	if err != nil {
		n, dims = 0, []int{0}
	}
	return Tensor{Elem: elem, Dims: dims, Data: alignedBytes(n * elem.Size())}
}

func alignedBytes(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// NewTensorFrom returns a tensor over raw bytes, copying only if they are not
// aligned for elem. The length must match the shape exactly.
func NewTensorFrom(elem DType, data []byte, dims ...int) (Tensor, error) {
	n, err := Count(dims)
	if err != nil {
		return Tensor{}, err
	}
	if elem.Size() == 0 || n*elem.Size() != len(data) {
		return Tensor{}, fmt.Errorf("%s%v needs %d bytes, got %d", elem, dims, n*elem.Size(), len(data))
	}
	if n > 0 && uintptr(unsafe.Pointer(&data[0]))%uintptr(elem.Size()) != 0 {
		c := alignedBytes(len(data))
		copy(c, data)
		data = c
	}
	return Tensor{Elem: elem, Dims: dims, Data: data}, nil
}

// Len is the number of elements.
func (t Tensor) Len() int {
	if s := t.Elem.Size(); s > 0 {
		return len(t.Data) / s
	}
	return 0
}

// Row is the extent of the last dimension, 1 for a scalar.
func (t Tensor) Row() int {
	if len(t.Dims) == 0 {
		return 1
	}
	return t.Dims[len(t.Dims)-1]
}

// Rows is the product of all extents but the last.
func (t Tensor) Rows() int {
	n := 1
	for i := 0; i+1 < len(t.Dims); i++ {
		n *= t.Dims[i]
	}
	return n
}

// View reinterprets the tensor's bytes as a slice of E without copying. It
// returns nil if E's size is not the element size.
func View[E any](t Tensor) []E {
	var e E
	size := int(unsafe.Sizeof(e))
	if size == 0 || size != t.Elem.Size() || len(t.Data) < size {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(&t.Data[0])), len(t.Data)/size)
}

// F32 views an f32 tensor's elements; nil for another element type.
func (t Tensor) F32() []float32 { return viewAs[float32](t, F32) }

// F64 views an f64 tensor's elements; nil for another element type.
func (t Tensor) F64() []float64 { return viewAs[float64](t, F64) }

// I8 views an i8 or tern tensor's elements; nil for another element type.
func (t Tensor) I8() []int8 {
	if t.Elem == Tern {
		return View[int8](t)
	}
	return viewAs[int8](t, I8)
}

// I32 views an i32 tensor's elements; nil for another element type.
func (t Tensor) I32() []int32 { return viewAs[int32](t, I32) }

// I64 views an i64 tensor's elements; nil for another element type.
func (t Tensor) I64() []int64 { return viewAs[int64](t, I64) }

// U16 views the raw bits of an f16 or bf16 tensor; nil for another type.
func (t Tensor) U16() []uint16 {
	if t.Elem != F16 && t.Elem != BF16 {
		return nil
	}
	return View[uint16](t)
}

func viewAs[E any](t Tensor, elem DType) []E {
	if t.Elem != elem {
		return nil
	}
	return View[E](t)
}

// Type returns the tensor's type with constant extents.
func (t Tensor) Type() Type { return Type{Elem: t.Elem, Shape: Dims(t.Dims...)} }

// Clone returns a deep copy.
func (t Tensor) Clone() Tensor {
	c := Tensor{Elem: t.Elem, Dims: append([]int(nil), t.Dims...), Data: alignedBytes(len(t.Data))}
	copy(c.Data, t.Data)
	return c
}

// FromF32 copies vals into a new f32 tensor. The result is empty if the count
// does not match the shape.
func FromF32(vals []float32, dims ...int) Tensor { return from(F32, vals, dims) }

// FromI32 copies vals into a new i32 tensor; see FromF32.
func FromI32(vals []int32, dims ...int) Tensor { return from(I32, vals, dims) }

// FromI8 copies vals into a new i8 tensor; see FromF32.
func FromI8(vals []int8, dims ...int) Tensor { return from(I8, vals, dims) }

func from[E any](elem DType, vals []E, dims []int) Tensor {
	t := NewTensor(elem, dims...)
	if t.Len() != len(vals) {
		return Tensor{Elem: elem, Dims: []int{0}, Data: []byte{}}
	}
	copy(View[E](t), vals)
	return t
}

// FloatAt returns element i of a floating-point tensor, widened.
func (t Tensor) FloatAt(i int) float64 {
	switch t.Elem {
	case F32:
		return float64(t.F32()[i])
	case F64:
		return t.F64()[i]
	case BF16:
		return float64(BF16ToF32(t.U16()[i]))
	case F16:
		return float64(F16ToF32(t.U16()[i]))
	}
	return math.NaN()
}

// ToF32 returns the tensor widened (or, for f64, rounded) to f32; an f32 tensor
// is returned as it is, without a copy.
func (t Tensor) ToF32() (Tensor, error) {
	if t.Elem == F32 {
		return t, nil
	}
	if !t.Elem.IsFloat() {
		return Tensor{}, fmt.Errorf("cannot convert %s to f32", t.Elem)
	}
	out := NewTensor(F32, t.Dims...)
	dst := out.F32()
	switch t.Elem {
	case BF16:
		for i, h := range t.U16() {
			dst[i] = BF16ToF32(h)
		}
	case F16:
		for i, h := range t.U16() {
			dst[i] = F16ToF32(h)
		}
	case F64:
		for i, v := range t.F64() {
			dst[i] = float32(v)
		}
	}
	return out, nil
}
