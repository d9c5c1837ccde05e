package asm

import (
	"fmt"
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// BenchmarkCodes is one block of a cache of codes and four heads of 128 channels, in
// a core's own cache.
func BenchmarkCodes(b *testing.B) {
	const hd, size, m = 128, 32, 4
	set, err := cpu.Detect()
	if err != nil {
		b.Fatal(err)
	}
	bytes, q, p := make([]int8, hd*size), make([]int16, m*hd), make([]int16, m*size)
	steps, scales, y, acc := make([]float32, size), make([]float32, m), make([]float32, m*size), make([]int32, m*hd)
	for _, isa := range Available(set) {
		for name, f := range map[string]func(){
			"dot":   func() { isa.CodesDot(y, size, bytes, q, hd, steps, scales, hd, 0) },
			"accum": func() { isa.CodesAccum(acc, hd, p, size, bytes, size, m, hd, 0) },
		} {
			b.Run(fmt.Sprintf("%s/%s", isa, name), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(m*hd*size*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
			})
		}
	}
}
