package gorgonia

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
	"gorgonia.org/tensor"

	G "gorgonia.org/gorgonia"
)

func opSet() graph.OpSet {
	return graph.NewOpSet(ops.All()...).With(ternary.All()...).With(bitlinear.All()...)
}

// TestDenseSharesMemory converts there and back for every shape and element type
// and checks that all are one memory.
func TestDenseSharesMemory(t *testing.T) {
	for _, e := range []graph.DType{graph.F32, graph.F64, graph.I8, graph.I32, graph.I64, graph.U8} {
		for _, dims := range [][]int{{}, {1}, {3}, {3, 1}, {1, 3}, {1, 1}, {2, 3, 4}} {
			x := graph.NewTensor(e, dims...)
			d, err := ToDense(x)
			if err != nil {
				t.Errorf("%s: %v", x.Type(), err)
				continue
			}
			y, err := FromDense(d)
			if err != nil {
				t.Errorf("%s: %v", x.Type(), err)
				continue
			}
			if !y.Type().Equal(x.Type()) || &y.Data[0] != &x.Data[0] || len(y.Data) != len(x.Data) {
				t.Errorf("%s became %s, in the same memory: %v", x.Type(), y.Type(), &y.Data[0] == &x.Data[0])
			}
			if d.Uintptr() != uintptr(unsafe.Pointer(&x.Data[0])) {
				t.Errorf("%s: Gorgonia's tensor has other memory", x.Type())
			}
		}
	}
	// What one writes the other reads.
	d := tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{1, 2, 3, 4}))
	x, err := FromDense(d)
	if err != nil {
		t.Fatal(err)
	}
	x.F32()[3] = 9
	if got, _ := d.At(1, 1); got != float32(9) {
		t.Errorf("a write through trit's tensor gives %v", got)
	}
	codes, err := ToDense(graph.Tensor{Elem: graph.Tern, Dims: []int{2}, Data: []byte{1, 255}})
	if err != nil || !cmp.Equal(codes.Data(), []int8{1, -1}) {
		t.Errorf("ternary codes become %v (%v)", codes, err)
	}
	ints, err := FromDense(tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{7, -1})))
	if err != nil || !cmp.Equal(ints.I64(), []int64{7, -1}) {
		t.Errorf("ints become %v (%v)", ints, err)
	}
}

func TestDenseRefusals(t *testing.T) {
	d := func() *tensor.Dense {
		return tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	}
	transposed := d()
	if err := transposed.T(); err != nil {
		t.Fatal(err)
	}
	slice := func(s ...tensor.Slice) *tensor.Dense {
		v, err := d().Slice(s...)
		if err != nil {
			t.Fatal(err)
		}
		return v.(*tensor.Dense)
	}
	masked := tensor.New(tensor.WithShape(2), tensor.WithBacking([]float32{1, 2}, []bool{true, false}))
	tests := []struct {
		d    *tensor.Dense
		want string
	}{
		{nil, "nil"},
		{transposed, "strides [1 3]"},
		{slice(nil, G.S(0, 2)), "strides [3 1]"},
		{slice(nil, G.S(1)), "strides [3]"},
		{tensor.New(tensor.WithShape(2, 3), tensor.AsFortran([]float32{1, 2, 3, 4, 5, 6})), "row-major"},
		{masked, "masked"},
		{tensor.New(tensor.WithShape(1), tensor.WithBacking([]string{"a"})), "element type"},
		{tensor.New(tensor.WithShape(2), tensor.WithBacking([]complex64{1, 2})), "element type"},
	}
	for _, tt := range tests {
		if x, err := FromDense(tt.d); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, %v, want %q", x, err, tt.want)
		}
	}
	// A contiguous part is not refused: a row of the matrix.
	x, err := FromDense(slice(G.S(1)))
	if err != nil || !cmp.Equal(x.F32(), []float32{4, 5, 6}) {
		t.Errorf("the second row is %v (%v)", x.F32(), err)
	}
	for _, x := range []graph.Tensor{
		graph.NewTensor(graph.F32, 0, 3), graph.NewTensor(graph.BF16, 2), graph.NewTensor(graph.F16, 2),
		{Elem: graph.F32, Dims: []int{2}, Data: make([]byte, 7)}, {Dims: []int{1}, Data: []byte{1}}, {Elem: graph.F32, Dims: []int{-1}},
	} {
		if d, err := ToDense(x); err == nil {
			t.Errorf("%v became %v", x, d)
		}
	}
}
