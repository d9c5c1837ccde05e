package asm

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/cpu"
)

func TestTernaryRowsBatch(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(2)
		check := func(codes, q []int8, m, n, k, first int, factor float32, gate func(t, i int) float32) {
			t.Helper()
			packed := guarded[byte](t, PackedRowsBytes(n, k), m%2 == 0)
			PackTernaryByRow(packed, codes, n, k, 0, n)
			lists, sums := RowBatchLen(n - first)
			b := NewRowBatch(make([]uint32, lists), guarded[int32](t, sums, false), n-first)
			ps := make([]RowProduct, m)
			read := 0
			for j := range ps {
				own := q[j*k : (j+1)*k]
				p := RowProduct{Up: fill(n-first, float32(7)), Gate: make([]float32, n-first), Sum: SumI8(own), Factor: factor * float32(j+1)}
				p.Q = guardedCopy(t, append(append([]int8(nil), own...), randI8(r, ceilDiv(k, RowCols)*RowCols-k)...), false)
				for i := range p.Gate {
					p.Gate[i] = gate(j, i)
				}
				ps[j] = p
			}
			read = isa.TernaryRowsBatch(ps, packed, &b, first, k)
			most := 0
			for j, p := range ps {
				want := naive(codes, q[j*k:(j+1)*k], n, k)
				all := !(math.Abs(float64(p.Factor)*128*float64(k)) < math.MaxFloat32)
				for i, g := range p.Gate {
					w := float32(want[first+i]) * p.Factor
					if g <= 0 && !all {
						w = 0
					} else {
						most++
					}
					if p.Up[i] != w && !(p.Up[i] != p.Up[i] && w != w) {
						t.Fatalf("%d tokens, %dx%d from %d: token %d row %d is %v, want %v", m, n, k, first, j, first+i, p.Up[i], w)
					}
				}
			}
			if read > most || most > m*read {
				t.Fatalf("%d tokens, %dx%d: %d rows were read for %d products", m, n, k, read, most)
			}
		}
		for i, s := range rowShapes {
			n, k := s[0], s[1]
			for m := 1; m <= 9; m++ {
				if n*k > 1<<14 && (m+i)%3 > 0 {
					continue
				}
				first := n / 2 / PanelRows * PanelRows
				for _, share := range []float64{0, 0.5, 1} {
					check(randCodes(r, n*k), randI8(r, m*k), m, n, k, first, 0.5, func(int, int) float32 {
						if r.Float64() < share {
							return -r.Float32()
						}
						return r.Float32() + 0x1p-30
					})
				}
			}
		}
		for _, h := range hostile {
			m, n, k := 5, 9, 4119
			check(fill(n*k, h.code), fill(m*k, h.q), m, n, k, 0, 1, func(t, i int) float32 { return float32((i+t)%3 - 1) })
		}
		// Nothing is left out where zero times a product is no number.
		check(randCodes(r, 20*300), randI8(r, 3*300), 3, 20, 300, 0, math.MaxFloat32/128, func(t, i int) float32 { return -1 })
	})
}

// BenchmarkTernaryRowsBatch reports G multiply-adds/s of rows that half of 16 tokens
// want, and the share of what the same instructions reach on registers.
func BenchmarkTernaryRowsBatch(b *testing.B) {
	const n, k, m, rows = 6912, 2560, 16, 256
	packed := make([]byte, PackedRowsBytes(n, k))
	PackTernaryByRow(packed, randCodes(newRand(1), n*k), n, k, 0, n)
	r, q := newRand(2), randI8(newRand(3), m*k)
	lists, sums := RowBatchLen(rows)
	mem := NewRowBatch(make([]uint32, lists), make([]int32, sums), rows)
	all, wanted := make([][]RowProduct, n/rows), 0
	for task := range all {
		all[task] = make([]RowProduct, m)
		for t := range m {
			own := q[t*k : (t+1)*k]
			p := RowProduct{Up: make([]float32, rows), Gate: make([]float32, rows), Q: own, Sum: SumI8(own), Factor: 1}
			for i := range p.Gate {
				if p.Gate[i] = r.Float32() - 0.5; p.Gate[i] > 0 {
					wanted++
				}
			}
			all[task][t] = p
		}
	}
	for _, isa := range Available(cpu.Hardware())[1:] {
		b.Run(fmt.Sprint(isa), func(b *testing.B) {
			per := isa.PeakMAC(1)
			iters := wanted*k/per/8 + 1
			var tMul, tPeak time.Duration
			for b.Loop() {
				start := time.Now()
				for task, ps := range all {
					isa.TernaryRowsBatch(ps, packed, &mem, task*rows, k)
				}
				mid := time.Now()
				isa.PeakMAC(iters)
				tMul += mid.Sub(start)
				tPeak += time.Since(mid)
			}
			rate := float64(b.N) * float64(wanted*k) / tMul.Seconds()
			top := float64(b.N) * float64(iters*per) / tPeak.Seconds()
			b.ReportMetric(rate/1e9, "GMAC/s")
			b.ReportMetric(100*rate/top, "%ofpeak")
			b.ReportMetric(0, "ns/op")
		})
	}
}
