package asm

import (
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// BenchmarkRow runs row kernels on a row of the 2B4T shapes, in L1 or L2.
func BenchmarkRow(b *testing.B) {
	const n = 6912
	x, w, y := randF32(1, n), randF32(2, n), make([]float32, n)
	q, h, acc := make([]int8, n), make([]uint16, n), make([]int32, n)
	step := AdamW{Grad: 1, Decay: 0.999, Beta1: 0.9, Mix1: 0.1, Beta2: 0.95, Mix2: 0.05, InvRoot: 4, Eps: 1e-8, Rate: 1e-3}
	p, m, v := randF32(4, n), make([]float32, n), make([]float32, n)
	for _, isa := range Available(cpu.Hardware()) {
		for _, c := range []struct {
			name string
			run  func()
		}{
			{"SumSquares", func() { isa.SumSquares(x) }},
			{"AbsMax", func() { isa.AbsMax(x) }},
			{"QuantizeI8", func() { isa.QuantizeI8(q, x) }},
			{"RMSNorm", func() { isa.RMSNorm(y, x, w, 1e-5) }},
			{"RMSNormQuant", func() { isa.RMSNormQuant(q, x, w, 1e-5) }},
			{"Relu2Mul", func() { isa.Relu2Mul(y, x, w) }},
			{"RescaleAdd", func() { isa.RescaleAdd(y, acc, 0.5, x) }},
			{"Exp", func() { isa.Exp(y, x) }},
			{"AdamW", func() { isa.AdamW(p, x, m, v, step) }},
			{"FakeQuantTernary", func() { isa.FakeQuantTernary(y, x, 1.5, 0.7) }},
			{"SumAbs", func() { isa.SumAbs(x) }},
			{"F32ToBF16", func() { isa.F32ToBF16(h, x) }},
			{"F16ToF32", func() { isa.F16ToF32(y, h) }},
		} {
			b.Run(c.name+"/"+isa.String(), func(b *testing.B) {
				b.SetBytes(4 * n)
				for b.Loop() {
					c.run()
				}
			})
		}
	}
}
