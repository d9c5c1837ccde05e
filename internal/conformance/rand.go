package conformance

import (
	"math"
	"math/rand/v2"

	"github.com/trit-ml/trit/graph"
)

// Rand draws operands.
type Rand struct{ *rand.Rand }

// F32 returns values of about unit size.
func (r *Rand) F32(dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = float32(r.NormFloat64())
	}
	return t
}

// Half returns a bf16 or f16 tensor of about unit size.
func (r *Rand) Half(elem graph.DType, dims ...int) graph.Tensor {
	t := graph.NewTensor(elem, dims...)
	for i := range t.U16() {
		if v := float32(r.NormFloat64()); elem == graph.BF16 {
			t.U16()[i] = graph.F32ToBF16(v)
		} else {
			t.U16()[i] = graph.F32ToF16(v)
		}
	}
	return t
}

// Float returns a tensor of any floating-point type that kernels read.
func (r *Rand) Float(elem graph.DType, dims ...int) graph.Tensor {
	if elem == graph.F32 {
		return r.F32(dims...)
	}
	return r.Half(elem, dims...)
}

// Fill returns an f32 tensor of one value.
func (r *Rand) Fill(v float32, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return t
}

// Wild returns values of every size that floats have, both zeros and denormals
// among them, but no infinity, and none whose square overflows.
func (r *Rand) Wild(dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.F32, dims...)
	for i := range t.F32() {
		v := float32(math.Ldexp(r.Float64()+0.5, r.IntN(190)-149))
		switch r.IntN(8) {
		case 0:
			v = 0
		case 1:
			v = math.Float32frombits(uint32(r.IntN(1 << 23)))
		}
		if r.IntN(2) == 0 {
			v = -v
		}
		t.F32()[i] = v
	}
	return t
}

// I8 returns codes of the whole range.
func (r *Rand) I8(dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.I8, dims...)
	for i := range t.I8() {
		t.I8()[i] = int8(r.IntN(256) - 128)
	}
	return t
}

// Tern returns ternary codes, zeros as common as in trained models.
func (r *Rand) Tern(dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.Tern, dims...)
	for i := range t.I8() {
		t.I8()[i] = int8(r.IntN(3) - 1)
	}
	return t
}

// I32 returns integers in [from, to).
func (r *Rand) I32(from, to int, dims ...int) graph.Tensor {
	t := graph.NewTensor(graph.I32, dims...)
	for i := range t.I32() {
		t.I32()[i] = int32(from + r.IntN(to-from))
	}
	return t
}

// fillI8 returns codes of one value.
func fillI8(elem graph.DType, v int8, dims ...int) graph.Tensor {
	t := graph.NewTensor(elem, dims...)
	for i := range t.I8() {
		t.I8()[i] = v
	}
	return t
}

// matrices are the [rows, columns] that row-wise kernels meet: around every
// vector width, and those of real models.
var matrices = [][2]int{
	{1, 1}, {3, 2}, {2, 7}, {5, 8}, {1, 15}, {4, 16}, {9, 17}, {1, 31}, {2, 32}, {3, 33}, {1, 64}, {7, 65},
	{2, 127}, {6, 128}, {1, 129}, {17, 256}, {2, 257}, {1, 300}, {33, 64}, {3, 688}, {2, 1000}, {1, 2560},
}
