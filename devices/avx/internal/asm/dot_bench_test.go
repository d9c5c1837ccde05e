package asm

import (
	"fmt"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/pool"
)

// BenchmarkHead multiplies a head of 32768 x 2560, larger than L3, with one or
// more vectors and reports GB/s of weights beside plain reads, interleaved.
func BenchmarkHead(b *testing.B) {
	const rows, k, part = 32768, 2560, 256
	raw := hugeBytes(b, rows*k*2)
	h := u16s(raw)
	Generic.F32ToBF16(h, randF32(1, rows*k))
	w8 := bytesToInt8(raw[:rows*k])
	for _, m := range []int{1, 3, 12} {
		x, y := randF32(2, m*k), make([]float32, m*rows)
		x8, y8 := randI8(newRand(3), m*k), make([]int32, m*rows)
		for _, isa := range Available(cpu.Hardware())[1:] {
			for _, c := range []struct {
				name  string
				bytes int
				mul   func(task int)
			}{
				{"bf16", 2, func(t int) { isa.DotBF16(y[t*part:], rows, h[t*part*k:], k, x, k, part, m, k) }},
				{"i8", 1, func(t int) { isa.DotI8(y8[t*part:], rows, w8[t*part*k:], k, x8, k, part, m, k) }},
			} {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%s/m=%d/%s/threads=%d", c.name, m, isa, threads), func(b *testing.B) {
						p := pool.New(threads)
						defer p.Close()
						mul := func(task, _ int) { c.mul(task) }
						size := part * k * c.bytes
						read := func(task, _ int) { isa.ReadStream(raw[task*size:][:size]) }
						var tMul, tRead time.Duration
						for b.Loop() {
							start := time.Now()
							_ = p.Run(rows/part, mul)
							mid := time.Now()
							_ = p.Run(rows/part, read)
							tMul += mid.Sub(start)
							tRead += time.Since(mid)
						}
						bytes := float64(b.N) * float64(rows*k*c.bytes)
						b.ReportMetric(bytes/tMul.Seconds()/1e9, "GB/s")
						b.ReportMetric(bytes/tRead.Seconds()/1e9, "read-GB/s")
						b.ReportMetric(100*tRead.Seconds()/tMul.Seconds(), "%ofread")
						b.ReportMetric(bytes*float64(m)/float64(c.bytes)/tMul.Seconds()/1e9, "GMAC/s")
						b.ReportMetric(0, "ns/op")
					})
				}
			}
		}
	}
}

// BenchmarkAttention is one query head, or in qk4 four that share a key head, against 1024 cached positions.
func BenchmarkAttention(b *testing.B) {
	const positions, dim = 1024, 128
	k := randF32(1, positions*dim)
	q, s, o := randF32(2, 4*dim), make([]float32, 4*positions), make([]float32, dim)
	kh := make([]uint16, len(k))
	Generic.F32ToF16(kh, k)
	for _, isa := range Available(cpu.Hardware()) {
		for _, c := range []struct {
			name  string
			bytes int
			run   func()
		}{
			{"qk-f32", 4, func() { isa.DotF32(s, positions, k, dim, q, dim, positions, 1, dim) }},
			{"qk-f16", 2, func() { isa.DotF16(s, positions, kh, dim, q, dim, positions, 1, dim) }},
			{"qk4-f32", 4, func() { isa.DotF32(s, positions, k, dim, q, dim, positions, 4, dim) }},
			{"qk4-f16", 2, func() { isa.DotF16(s, positions, kh, dim, q, dim, positions, 4, dim) }},
			{"softmax", 0, func() { isa.Softmax(s[:positions], s[:positions], 0.1) }},
			{"pv-f32", 4, func() { isa.AccumF32(o, s[:positions], k, dim) }},
			{"pv-f16", 2, func() { isa.AccumF16(o, s[:positions], kh, dim) }},
		} {
			b.Run(c.name+"/"+isa.String(), func(b *testing.B) {
				b.SetBytes(int64(positions * dim * c.bytes))
				for b.Loop() {
					c.run()
				}
			})
		}
	}
}
