package graph

import (
	"math"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestCount(t *testing.T) {
	tests := []struct {
		dims []int
		want int
		ok   bool
	}{
		{nil, 1, true},
		{[]int{0}, 0, true},
		{[]int{3, 5, 7}, 105, true},
		{[]int{1 << 20, 1 << 20}, 1 << 40, true},
		{[]int{1 << 20, 1<<20 + 1}, 0, false},
		{[]int{math.MaxInt}, 0, false},
		{[]int{math.MaxInt, math.MaxInt}, 0, false},
		{[]int{1 << 32, 1 << 32}, 0, false}, // 2^64 wraps to 0
		{[]int{-1}, 0, false},
		{[]int{math.MinInt, 0}, 0, false},
		{[]int{0, -1}, 0, false},
		// A zero must not hide extents whose product overflows elsewhere.
		{[]int{0, 1 << 50}, 0, false},
		{[]int{1 << 50, 0}, 0, false},
		{[]int{1 << 30, 1 << 30, 0}, 0, false},
		{[]int{0, 1 << 40}, 0, true},
	}
	for _, tt := range tests {
		got, err := Count(tt.dims)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("Count(%v) = %d, %v; want %d, ok %v", tt.dims, got, err, tt.want, tt.ok)
		}
	}
}

func TestAbsurdTensorsAreEmpty(t *testing.T) {
	for _, dims := range [][]int{{-1}, {math.MaxInt, 2}, {1 << 41}, {1 << 32, 1 << 32}, {0, 1 << 60}} {
		x := NewTensor(F32, dims...)
		if x.Len() != 0 || len(x.Data) != 0 || x.Rows()*x.Row() != 0 {
			t.Errorf("NewTensor(%v) has shape %v and %d bytes", dims, x.Dims, len(x.Data))
		}
		if _, err := NewTensorFrom(F32, make([]byte, 8), dims...); err == nil {
			t.Errorf("NewTensorFrom accepts %v", dims)
		}
	}
	if got := FromF32([]float32{1, 2, 3}, 2); got.Len() != 0 {
		t.Errorf("FromF32 of 3 values in shape [2] has %d elements", got.Len())
	}
}

func TestNewTensorFrom(t *testing.T) {
	for elem := F32; elem <= Tern; elem++ {
		size := elem.Size()
		buf := alignedBytes(6*size + 1)
		for i := range buf {
			buf[i] = byte(i)
		}
		x, err := NewTensorFrom(elem, buf[:6*size], 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		if &x.Data[0] != &buf[0] {
			t.Errorf("%s: aligned bytes were copied", elem)
		}
		// One byte further only byte types are aligned.
		y, err := NewTensorFrom(elem, buf[1:6*size+1], 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		if uintptr(unsafe.Pointer(&y.Data[0]))%uintptr(size) != 0 {
			t.Errorf("%s: the tensor is not aligned", elem)
		}
		if diff := cmp.Diff(buf[1:6*size+1], y.Data); diff != "" {
			t.Errorf("%s: %s", elem, diff)
		}
		for _, n := range []int{6*size - 1, 6*size + 1, 0} {
			if _, err := NewTensorFrom(elem, buf[:n], 2, 3); err == nil {
				t.Errorf("%s: %d bytes for [2,3] are accepted", elem, n)
			}
		}
	}
	if _, err := NewTensorFrom(InvalidDType, nil, 0); err == nil {
		t.Error("the invalid element type is accepted")
	}
}

func TestViewsMatchElementType(t *testing.T) {
	for elem := F32; elem <= Tern; elem++ {
		x := NewTensor(elem, 3)
		got := map[string]bool{
			"f32": x.F32() != nil, "f64": x.F64() != nil, "i8": x.I8() != nil,
			"i32": x.I32() != nil, "i64": x.I64() != nil, "u16": x.U16() != nil,
		}
		want := map[string]bool{
			"f32": elem == F32, "f64": elem == F64, "i8": elem == I8 || elem == Tern,
			"i32": elem == I32, "i64": elem == I64, "u16": elem == F16 || elem == BF16,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", elem, diff)
		}
		if NewTensor(elem, 0).F32() != nil {
			t.Errorf("%s: an empty tensor has elements", elem)
		}
	}
	if View[struct{}](Tensor{}) != nil {
		t.Error("a view of nothing")
	}
}

func TestToF32(t *testing.T) {
	vals := []float32{0, 1, -2.5, 65504, -0.0009765625}
	for _, elem := range []DType{F32, F64, F16, BF16} {
		x := NewTensor(elem, len(vals))
		for i, v := range vals {
			switch elem {
			case F32:
				x.F32()[i] = v
			case F64:
				x.F64()[i] = float64(v)
			case F16:
				x.U16()[i] = F32ToF16(v)
			case BF16:
				x.U16()[i] = F32ToBF16(v)
			}
		}
		y, err := x.ToF32()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range y.F32() {
			if want := x.FloatAt(i); float64(v) != want || elem != BF16 && v != vals[i] {
				t.Errorf("%s[%d] is %g, want %g", elem, i, v, want)
			}
		}
	}
	if _, err := NewTensor(I32, 2).ToF32(); err == nil {
		t.Error("i32 converts to f32")
	}
	if !math.IsNaN(NewTensor(I32, 2).FloatAt(0)) {
		t.Error("FloatAt of i32 is a number")
	}
}

func TestCloneDoesNotAlias(t *testing.T) {
	x := FromF32([]float32{1, 2}, 2)
	y := x.Clone()
	y.F32()[0], y.Dims[0] = 9, 7
	if x.F32()[0] != 1 || x.Dims[0] != 2 {
		t.Error("a clone shares memory with its source")
	}
}
