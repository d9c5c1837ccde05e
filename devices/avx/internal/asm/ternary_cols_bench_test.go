package asm

import (
	"fmt"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/pool"
)

// BenchmarkTernaryColsGEMV multiplies vectors of which a share is zero with
// matrices that together are far larger than L3, also as far as they are read. It
// reports the time beside that of the same product by panels, and the speed of
// what is read beside that of plain reads of all, interleaved.
func BenchmarkTernaryColsGEMV(b *testing.B) {
	const n, k, layers = 2560, 6912, 100 // 4.4 MB each
	size := PackedColsBytes(n, k)
	packed := hugeBytes(b, layers*size)
	PackTernaryCols(packed[:size], randCodes(newRand(1), n*k), n, k, 0, n)
	for l := 1; l < layers; l++ {
		copy(packed[l*size:], packed[:size])
	}
	acc := make([]int32, n)
	for _, share := range []float64{0, 0.5, 0.65, 0.8} {
		qs := make([][]int8, layers) // every layer reads other columns
		for l := range qs {
			qs[l] = sparse(randI8(newRand(2), k), share, uint64(l))
		}
		for _, isa := range Available(cpu.Hardware())[1:] {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("zero=%g/%s/threads=%d", share, isa, threads), func(b *testing.B) {
					p := pool.New(threads)
					defer p.Close()
					var mat []byte
					var q []int8
					cols := NewColumns(make([]uint32, ColumnsLen(k)), make([]int8, ColumnsLen(k)))
					rows := n / threads / ColRows * ColRows
					bySum := int32(0)
					mul := func(task, _ int) {
						r0, r1 := task*rows, (task+1)*rows
						isa.TernaryColsGEMV(acc[r0:r1], mat, &cols, bySum, n, r0, r1)
					}
					const tall = 8 * PanelRows
					panels := func(task, _ int) {
						isa.TernaryGEMV(acc, mat, q, bySum, n, k, task*tall, (task+1)*tall)
					}
					part := tall / PanelRows * panelBytes(k)
					read := func(task, _ int) { isa.ReadStream(mat[task*part:][:part]) }
					var tCols, tPanels, tRead time.Duration
					touched := 0
					for b.Loop() {
						start := time.Now()
						for l := range layers {
							mat, q = packed[l*size:][:size], qs[l]
							cols.Set(isa, q, 0, n)
							touched += cols.Len() * ColBytes(n)
							_ = p.Run(n/rows, mul)
						}
						mid := time.Now()
						for l := range layers {
							mat, q = packed[l*size:][:size], qs[l]
							_ = p.Run(n/tall, panels)
						}
						late := time.Now()
						for l := range layers {
							mat = packed[l*size:][:size]
							_ = p.Run(n/tall, read)
						}
						tCols += mid.Sub(start)
						tPanels += late.Sub(mid)
						tRead += time.Since(late)
					}
					all := float64(b.N) * float64(layers*size)
					b.ReportMetric(float64(touched)/tCols.Seconds()/1e9, "GB/s")
					b.ReportMetric(all/tRead.Seconds()/1e9, "read-GB/s")
					b.ReportMetric(100*tCols.Seconds()/tPanels.Seconds(), "%ofpanels")
					b.ReportMetric(tCols.Seconds()*1e6/float64(b.N*layers), "µs/product")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
