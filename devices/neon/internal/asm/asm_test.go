package asm

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/cpu"
)

// each runs a test on every instruction set of this machine.
func each(t *testing.T, f func(t *testing.T, isa ISA)) {
	set, err := cpu.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range Available(set) {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

func rng() *rand.Rand { return rand.New(rand.NewPCG(3, 5)) }

func floats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// lengths lie around the groups of the row kernels.
var lengths = []int{0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 100, 257}

func TestAvailable(t *testing.T) {
	if got := Available(0); !slices.Equal(got, []ISA{Generic}) {
		t.Errorf("without features: %v", got)
	}
	want := []ISA{Generic}
	if native {
		want = []ISA{Generic, NEON, DotProd}
	}
	all := cpu.Set(0).With(cpu.NEON | cpu.DotProd)
	if got := Available(all); !slices.Equal(got, want) || Best(all) != want[len(want)-1] {
		t.Errorf("with both features: %v, best %v", got, Best(all))
	}
}

// TestTernary compares products of odd shapes with sums over the codes.
func TestTernary(t *testing.T) {
	each(t, func(t *testing.T, isa ISA) {
		r := rng()
		for _, s := range [][3]int{{1, 1, 1}, {1, 16, 16}, {2, 17, 15}, {3, 5, 33}, {4, 16, 16}, {5, 40, 100}, {9, 33, 256}, {1, 48, 2560}, {4, 16, 2000}, {2, 3, 0}, {0, 3, 20}} {
			m, n, k := s[0], s[1], s[2]
			for _, extreme := range []bool{false, true} {
				codes, q := make([]int8, n*k), make([]int8, m*k)
				for i := range codes {
					if codes[i] = int8(r.IntN(3) - 1); extreme {
						codes[i] = 1
					}
				}
				for i := range q {
					if q[i] = int8(r.IntN(256) - 128); extreme {
						q[i] = -128
					}
				}
				packed := make([]byte, PackedBytes(n, k))
				for i := range packed {
					packed[i] = 0xff
				}
				for r0 := 0; r0 < n; r0 += PanelRows {
					r1 := min(n, r0+PanelRows)
					PackTernaryRows(packed, codes[r0*k:r1*k], n, k, r0, r1)
				}
				np, kp := PaddedRows(n), PaddedCols(k)
				acc, padded, init := make([]int32, m*np), make([]int8, m*kp), make([]int32, m)
				for i := range m {
					PadRow(padded[i*kp:(i+1)*kp], q[i*k:(i+1)*k])
					init[i] = -SumI8(q[i*k : (i+1)*k])
				}
				isa.Ternary(acc, packed, padded, init, m, np/PanelRows, k)
				for i := range m {
					for j := range n {
						var want int32
						for l := range k {
							want += int32(q[i*k+l]) * int32(codes[j*k+l])
						}
						if acc[i*np+j] != want {
							t.Fatalf("%v extreme %v: acc[%d,%d] is %d, want %d", s, extreme, i, j, acc[i*np+j], want)
						}
					}
				}
			}
		}
	})
}

func TestNotTernary(t *testing.T) {
	codes := make([]int8, 40)
	if i := NotTernary(codes); i != -1 {
		t.Errorf("zeros: %d", i)
	}
	for _, bad := range []int8{-128, -2, 2, 127} {
		for at := range codes {
			codes[at] = bad
			if i := NotTernary(codes); i != at {
				t.Errorf("%d at %d is found at %d", bad, at, i)
			}
			codes[at] = 1
		}
	}
}

// TestRows holds every row kernel to the bits of its twin, special values among
// the inputs of those that promise anything about them.
func TestRows(t *testing.T) {
	each(t, func(t *testing.T, isa ISA) {
		r := rng()
		for _, n := range lengths {
			x, w, u := floats(r, n), floats(r, n), floats(r, n)
			acc := make([]int32, n)
			for i := range acc {
				acc[i] = r.Int32() - 1<<30
			}
			got, want := make([]float32, n), make([]float32, n)
			check := func(name string) {
				t.Helper()
				for i := range got {
					if !sameBits(got[i], want[i]) {
						t.Fatalf("%s of %d: element %d is %v, want %v", name, n, i, got[i], want[i])
					}
				}
			}
			isa.Rescale(got, acc, 0.37)
			for i := range want {
				want[i] = float32(acc[i]) * 0.37
			}
			check("Rescale")
			isa.RescaleAdd(got, acc, 0.37, x)
			for i := range want {
				want[i] = float32(float32(acc[i])*0.37) + x[i]
			}
			check("RescaleAdd")
			isa.RMSNorm(got, x, w, 1e-5)
			Generic.RMSNorm(want, x, w, 1e-5)
			check("RMSNorm")
			isa.Relu2Mul(got, x, u)
			Generic.Relu2Mul(want, x, u)
			check("Relu2Mul")

			rows := map[string][]float32{"normal": x, "ties": make([]float32, n), "zeros": make([]float32, n), "nan": slices.Clone(x), "inf": slices.Clone(x)}
			for i := range n {
				rows["ties"][i] = float32(i%254) - 126.5
			}
			if n > 0 {
				rows["ties"][n/2] = 127
				rows["nan"][n/2] = float32(math.NaN())
				rows["inf"][n-1] = float32(math.Inf(-1))
			}
			for name, row := range rows {
				q, wantQ := make([]int8, n), make([]int8, n)
				if s, want := isa.QuantizeI8(q, row), Generic.QuantizeI8(wantQ, row); !sameBits(s, want) || !slices.Equal(q, wantQ) {
					t.Errorf("QuantizeI8 of %d %s: scale %v, want %v; codes %v, want %v", n, name, s, want, q, wantQ)
				}
				if s, want := isa.RMSNormQuant(q, row, w, 1e-5), Generic.RMSNormQuant(wantQ, row, w, 1e-5); !sameBits(s, want) || !slices.Equal(q, wantQ) {
					t.Errorf("RMSNormQuant of %d %s: scale %v, want %v; codes %v, want %v", n, name, s, want, q, wantQ)
				}
				Generic.RMSNorm(want, row, w, 1e-5)
				if s, two := isa.RMSNormQuant(q, row, w, 1e-5), isa.QuantizeI8(wantQ, want); !sameBits(s, two) || !slices.Equal(q, wantQ) {
					t.Errorf("RMSNormQuant of %d %s is not RMSNorm and QuantizeI8", n, name)
				}
			}
		}
	})
}

// TestDots demands one order of every shape and instruction set: that of the
// twin, whose single rounding TestFMA32 checks.
func TestDots(t *testing.T) {
	each(t, func(t *testing.T, isa ISA) {
		r := rng()
		for _, k := range lengths {
			const m, rows = 3, 5
			w, x := floats(r, rows*k), floats(r, m*k)
			bf, f := make([]uint16, len(w)), make([]uint16, len(w))
			for i, v := range w {
				bf[i], f[i] = graph.F32ToBF16(v), graph.F32ToF16(v*1e-5) // some subnormal
			}
			got := map[string][]float32{"f32": make([]float32, m*rows), "bf16": make([]float32, m*rows), "f16": make([]float32, m*rows)}
			isa.DotF32(got["f32"], rows, w, x, rows, m, k)
			isa.DotBF16(got["bf16"], rows, bf, x, rows, m, k)
			isa.DotF16(got["f16"], rows, f, x, rows, m, k)
			weight := map[string]func(i int) float32{
				"f32":  func(i int) float32 { return w[i] },
				"bf16": func(i int) float32 { return graph.BF16ToF32(bf[i]) },
				"f16":  func(i int) float32 { return graph.F16ToF32(f[i]) },
			}
			for name, y := range got {
				for i := range y {
					t0, row := i/rows, i%rows
					var s [group]float32
					for l := range k {
						s[l%group] = fma32(weight[name](row*k+l), x[t0*k+l], s[l%group])
					}
					if want := tree(&s); !sameBits(y[i], want) {
						t.Errorf("%s, k=%d: y[%d,%d] is %v, want %v", name, k, t0, row, y[i], want)
					}
				}
			}
		}
	})
}

// TestFMA32 compares with exact arithmetic, at sums that lie a hair from ties
// above all.
func TestFMA32(t *testing.T) {
	r := rng()
	check := func(a, b, c float32) {
		t.Helper()
		exact := new(big.Float).SetPrec(700).SetFloat64(float64(a) * float64(b))
		exact.Add(exact, new(big.Float).SetFloat64(float64(c)))
		if want, _ := exact.Float32(); fma32(a, b, c) != want {
			t.Errorf("fma32(%g, %g, %g) is %g, want %g", a, b, c, fma32(a, b, c), want)
		}
	}
	for range 20000 {
		a, b := float32(r.NormFloat64()), float32(r.NormFloat64())
		check(a, b, float32(r.NormFloat64())*float32(math.Exp2(float64(r.IntN(80)-40))))
	}
	// 1 + 2⁻²⁴ is a tie; what is added to it decides, however small.
	for e := 25; e < 100; e++ {
		tiny := float32(math.Exp2(float64(-e)))
		check(1+0x1p-23, 0x1p-24, 1)
		check(tiny, 1, 1)
		check(1+0x1p-12, 1+0x1p-12, -tiny)
		check(-1-0x1p-12, 1+0x1p-12, tiny)
		check(1+0x1p-12, 1+0x1p-12, tiny)
	}
	if v := fma32(float32(math.Inf(1)), 1, 0); !math.IsInf(float64(v), 1) {
		t.Errorf("with infinity: %v", v)
	}
	if v := fma32(1, 1, float32(math.NaN())); v == v {
		t.Errorf("with NaN: %v", v)
	}
}

// TestNoAllocations runs what a step calls most.
func TestNoAllocations(t *testing.T) {
	each(t, func(t *testing.T, isa ISA) {
		const n = 100
		r := rng()
		x, w, y := floats(r, n), floats(r, n), make([]float32, n)
		h, q := make([]uint16, n), make([]int8, PaddedCols(n))
		packed, acc, init := make([]byte, PackedBytes(PanelRows, n)), make([]int32, PanelRows), make([]int32, 1)
		if a := testing.AllocsPerRun(10, func() {
			isa.RMSNormQuant(q, x, w, 1e-5)
			isa.QuantizeI8(q, x)
			isa.Ternary(acc, packed, q, init, 1, 1, n)
			isa.Rescale(y, acc, 2)
			isa.DotF32(y, 1, w, x, 1, 1, n)
			isa.DotBF16(y, 1, h, x, 1, 1, n)
			isa.DotF16(y, 1, h, x, 1, 1, n)
		}); a != 0 {
			t.Errorf("%v allocations", a)
		}
	})
}
