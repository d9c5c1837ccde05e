package asm

import (
	"fmt"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/pool"
)

// BenchmarkTernaryGEMV walks matrices that together are far larger than L3 and
// reports GB/s beside what plain reads of the same bytes reach, interleaved.
func BenchmarkTernaryGEMV(b *testing.B) {
	const n, k, layers = 6912, 2560, 60 // 4.4 MB each, 265 MB in all
	size := PackedBytes(n, k)
	packed := hugeBytes(b, layers*size)
	codes := randCodes(newRand(1), n*k)
	PackTernary(packed[:size], codes, n, k)
	for l := 1; l < layers; l++ {
		copy(packed[l*size:], packed[:size])
	}
	q := randI8(newRand(2), k)
	qsum := SumI8(q)
	acc := make([]int32, n)
	for _, isa := range Available(cpu.Hardware())[1:] {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", isa, threads), func(b *testing.B) {
				p := pool.New(threads)
				defer p.Close()
				const rows = 12 * PanelRows
				var mat []byte
				mul := func(task, _ int) {
					isa.TernaryGEMV(acc, mat, q, qsum, n, k, task*rows, (task+1)*rows)
				}
				part := rows / PanelRows * panelBytes(k)
				read := func(task, _ int) { isa.ReadStream(mat[task*part:][:part]) }
				var tMul, tRead time.Duration
				b.SetBytes(int64(layers * size))
				for b.Loop() {
					start := time.Now()
					for l := range layers {
						mat = packed[l*size:][:size]
						_ = p.Run(n/rows, mul)
					}
					mid := time.Now()
					for l := range layers {
						mat = packed[l*size:][:size]
						_ = p.Run(n/rows, read)
					}
					tMul += mid.Sub(start)
					tRead += time.Since(mid)
				}
				bytes := float64(b.N) * float64(layers*size)
				b.ReportMetric(bytes/tMul.Seconds()/1e9, "GB/s")
				b.ReportMetric(bytes/tRead.Seconds()/1e9, "read-GB/s")
				b.ReportMetric(100*tRead.Seconds()/tMul.Seconds(), "%ofread")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkTernaryGEMM reports G multiply-adds/s and the share of what the same
// instructions reach on registers, measured after every product.
func BenchmarkTernaryGEMM(b *testing.B) {
	for _, shape := range [][2]int{{6912, 2560}, {2560, 6912}} {
		n, k := shape[0], shape[1]
		packed := make([]byte, PackedBytes(n, k))
		PackTernary(packed, randCodes(newRand(1), n*k), n, k)
		for _, m := range []int{2, 4, 8, 16, 32, 128, 512} {
			q := randI8(newRand(2), m*k)
			sums := make([]int32, m)
			acc := make([]int32, m*n)
			for _, isa := range Available(cpu.Hardware())[1:] {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%dx%d/m=%d/%s/threads=%d", n, k, m, isa, threads), func(b *testing.B) {
						benchGEMM(b, isa, threads, acc, packed, q, sums, m, n, k)
					})
				}
			}
		}
	}
}

func benchGEMM(b *testing.B, isa ISA, threads int, acc []int32, packed []byte, q []int8, sums []int32, m, n, k int) {
	p := pool.New(threads)
	defer p.Close()
	scratch := make([][]byte, threads)
	for i := range scratch {
		scratch[i] = make([]byte, TernaryScratch(k))
	}
	const rows = 64
	mul := func(task, worker int) {
		isa.TernaryGEMM(acc, packed, q, sums, m, n, k, task*rows, (task+1)*rows, 0, m, scratch[worker])
	}
	macs := m * n * k
	per := isa.PeakMAC(1)
	iters := macs/per/threads/8 + 1
	peak := func(_, _ int) { isa.PeakMAC(iters) }
	var tMul, tPeak time.Duration
	for b.Loop() {
		start := time.Now()
		_ = p.Run(n/rows, mul)
		mid := time.Now()
		_ = p.Run(threads, peak)
		tMul += mid.Sub(start)
		tPeak += time.Since(mid)
	}
	rate := float64(b.N) * float64(macs) / tMul.Seconds()
	top := float64(b.N) * float64(iters*per*threads) / tPeak.Seconds()
	b.ReportMetric(rate/1e9, "GMAC/s")
	b.ReportMetric(100*rate/top, "%ofpeak")
	b.ReportMetric(top/1e9, "peak-GMAC/s")
	b.ReportMetric(0, "ns/op")
}
