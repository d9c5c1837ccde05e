package asm

import (
	"math"
	"slices"
	"testing"
)

var lengths = []int{0, 1, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65, 100, 128, 255, 1000, 2560}

// randF32 mixes ordinary values with zeros, ties, tiny and large ones.
func randF32(seed uint64, n int) []float32 {
	r := newRand(seed)
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(12) {
		case 0:
			x[i] = 0
		case 1:
			x[i] = float32(r.IntN(9)-4) + 0.5
		case 2:
			x[i] = float32(r.NormFloat64() * 1e-6)
		case 3:
			x[i] = float32(r.NormFloat64() * 100)
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
	return x
}

// sameBits compares float slices bit by bit; all NaNs are equal.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("%s, length %d: element %d is %v (%08x), want %v (%08x)", what, len(want), i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// eachLength runs f for every ISA, length and side of the guard page.
func eachLength(t *testing.T, f func(t *testing.T, isa ISA, n int, front bool)) {
	eachISA(t, func(t *testing.T, isa ISA) {
		for _, n := range lengths {
			f(t, isa, n, false)
			f(t, isa, n, true)
		}
	})
}

func TestReductions(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		x, y := guardedCopy(t, randF32(1, n), front), guardedCopy(t, randF32(2, n), front)
		var sum, squares, dot, abs, sumAbs float64
		top := math.Inf(-1)
		for i, v := range x {
			a, b := float64(v), float64(y[i])
			sum, squares, dot = sum+a, squares+a*a, dot+a*b
			abs, sumAbs, top = max(abs, math.Abs(a)), sumAbs+math.Abs(a), max(top, a)
		}
		if got := isa.AbsMax(x); float64(got) != abs {
			t.Fatalf("AbsMax of %d = %v, want %v", n, got, abs)
		}
		if got := isa.Max(x); float64(got) != top {
			t.Fatalf("Max of %d = %v, want %v", n, got, top)
		}
		if got := isa.SumAbs(x); math.Abs(got-sumAbs) > 1e-13*sumAbs {
			t.Fatalf("SumAbs of %d = %v, want %v", n, got, sumAbs)
		}
		if got, want := isa.SumAbs(x), Generic.SumAbs(x); got != want {
			t.Fatalf("SumAbs of %d = %v, Generic %v", n, got, want)
		}
		for _, c := range []struct {
			name         string
			got, generic float32
			exact, scale float64
		}{
			{"Sum", isa.Sum(x), Generic.Sum(x), sum, sumAbs},
			{"SumSquares", isa.SumSquares(x), Generic.SumSquares(x), squares, squares},
			{"Dot", isa.Dot(x, y), Generic.Dot(x, y), dot, sumAbs * 500},
		} {
			if math.Float32bits(c.got) != math.Float32bits(c.generic) {
				t.Fatalf("%s of %d = %v, Generic %v", c.name, n, c.got, c.generic)
			}
			if math.Abs(float64(c.got)-c.exact) > 1e-5*c.scale {
				t.Fatalf("%s of %d = %v, exactly %v", c.name, n, c.got, c.exact)
			}
		}
	})
}

func TestQuantizeI8(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		inputs := [][]float32{randF32(3, n), fill[float32](n, 0), fill[float32](n, -3e38), fill[float32](n, 1e-30)}
		ties := make([]float32, n) // with absmax 127 the scale is 1 and halves are ties
		for i := range ties {
			ties[i] = float32(i%255-127) + 0.5
		}
		if n > 0 {
			ties[n-1] = 127
		}
		for _, x := range append(inputs, ties) {
			gx, q := guardedCopy(t, x, front), guarded[int8](t, n, front)
			scale, sum := isa.QuantizeI8(q, gx)
			want, s := make([]int8, n), 1/max(Generic.AbsMax(x), 1e-5)*127
			for i, v := range x {
				want[i] = int8(min(max(math.RoundToEven(float64(v*s)), -128), 127))
			}
			if scale != s || !slices.Equal(q, want) || sum != SumI8(want) {
				t.Fatalf("length %d: scale %v, want %v; sum %d, want %d; q %v, want %v", n, scale, s, sum, SumI8(want), q, want)
			}
			fake := guarded[float32](t, n, front)
			if got := isa.FakeQuantI8(fake, gx); got != s {
				t.Fatalf("FakeQuantI8 scale %v, want %v", got, s)
			}
			again := guarded[float32](t, n, front)
			if isa.DequantI8(again, guardedCopy(t, q, front), s); !slices.Equal(again, fake) {
				t.Fatalf("DequantI8 of %d: %v, want %v", n, again, fake)
			}
			for i := range want {
				if w := float32(want[i]) / s; math.Float32bits(fake[i]) != math.Float32bits(w) {
					t.Fatalf("FakeQuantI8 %d of %d: %v, want %v", i, n, fake[i], w)
				}
			}
		}
	})
}

func TestQuantizeTernary(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		w := guardedCopy(t, randF32(4, n), front)
		for _, s := range []float32{1, 0.37, 1e5, 3e38} {
			gamma := 1 / s
			codes := guarded[int8](t, n, front)
			fake := guarded[float32](t, n, front)
			isa.QuantizeTernary(codes, w, s)
			isa.FakeQuantTernary(fake, w, s, gamma)
			again := guarded[float32](t, n, front)
			if isa.DequantTernary(again, guardedCopy(t, codes, front), gamma); !slices.Equal(again, fake) {
				t.Fatalf("DequantTernary of %d: %v, want %v", n, again, fake)
			}
			for i, v := range w {
				want := int8(min(max(math.RoundToEven(float64(v*s)), -1), 1))
				if codes[i] != want || fake[i] != float32(want)*gamma {
					t.Fatalf("w %v, s %v: code %d, fake %v; want %d", v, s, codes[i], fake[i], want)
				}
			}
		}
	})
	if s, gamma := TernaryScale(0, 4); s != 1/float32(1e-5) || gamma != 1/s {
		t.Errorf("TernaryScale of zeros = %v, %v", s, gamma)
	}
	if s, gamma := TernaryScale(8, 4); s != 0.5 || gamma != 2 {
		t.Errorf("TernaryScale(8, 4) = %v, %v; want 0.5, 2", s, gamma)
	}
}

func TestRMSNorm(t *testing.T) {
	const eps = 1e-5
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		for _, x := range [][]float32{randF32(5, n), fill[float32](n, 0)} {
			gx, w, y := guardedCopy(t, x, front), guardedCopy(t, randF32(6, n), front), guarded[float32](t, n, front)
			r := isa.RMSNorm(y, gx, w, eps)
			want := make([]float32, n)
			if wr := Generic.RMSNorm(want, x, w, eps); wr != r {
				t.Fatalf("factor %v, Generic %v", r, wr)
			}
			sameBits(t, "RMSNorm", y, want)
			var ss float64
			for _, v := range x {
				ss += float64(v) * float64(v)
			}
			for i, v := range x {
				exact := float64(v) / math.Sqrt(ss/float64(n)+eps) * float64(w[i])
				if math.Abs(float64(y[i])-exact) > 2e-6*math.Abs(exact) {
					t.Fatalf("RMSNorm %d of %d = %v, exactly %v", i, n, y[i], exact)
				}
			}
			q, wantQ := guarded[int8](t, n, front), make([]int8, n)
			scale, sum := isa.RMSNormQuant(q, gx, w, eps)
			wantScale, wantSum := Generic.QuantizeI8(wantQ, want)
			if scale != wantScale || sum != wantSum || !slices.Equal(q, wantQ) {
				t.Fatalf("RMSNormQuant of %d: scale %v, sum %d; want %v, %d", n, scale, sum, wantScale, wantSum)
			}
		}
	})
}

func TestElementwise(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		a, b := guardedCopy(t, randF32(7, n), front), guardedCopy(t, randF32(8, n), front)
		if n > 2 {
			a[n-1], a[n/2], a[0] = nan, inf, -inf
		}
		acc := guarded[int32](t, n, front)
		r := newRand(9)
		for i := range acc {
			acc[i] = int32(r.Uint32())
		}
		for name, f := range map[string]func(isa ISA, dst []float32){
			"Add":        func(isa ISA, dst []float32) { isa.Add(dst, a, b) },
			"Mul":        func(isa ISA, dst []float32) { isa.Mul(dst, a, b) },
			"Scale":      func(isa ISA, dst []float32) { isa.Scale(dst, a, 1.7) },
			"Axpy":       func(isa ISA, dst []float32) { isa.Axpy(dst, b, -0.3) },
			"Relu2Mul":   func(isa ISA, dst []float32) { isa.Relu2Mul(dst, a, b) },
			"Rescale":    func(isa ISA, dst []float32) { isa.Rescale(dst, acc, 0.013) },
			"RescaleAdd": func(isa ISA, dst []float32) { isa.RescaleAdd(dst, acc, 0.013, b) },
			"MulAdd":     func(isa ISA, dst []float32) { isa.MulAdd(dst, a, b) },
			"SubMul":     func(isa ISA, dst []float32) { isa.SubMul(dst, a, 0.4, b) },
			"Relu2":      func(isa ISA, dst []float32) { isa.Relu2(dst, a) },
			"Relu2Grad":  func(isa ISA, dst []float32) { isa.Relu2Grad(dst, a, b) },
			"ExpScaled":  func(isa ISA, dst []float32) { isa.ExpScaled(dst, a, 0.5, 2) },
			"Exp":        func(isa ISA, dst []float32) { isa.Exp(dst, a) },
			"in place":   func(isa ISA, dst []float32) { isa.Mul(dst, dst, b); isa.Add(dst, b, dst); isa.Exp(dst, dst) },
		} {
			got, want := guardedCopy(t, b, front), slices.Clone(b)
			f(isa, got)
			f(Generic, want)
			sameBits(t, name, got, want)
		}
	})
	got := make([]float32, 4)
	Generic.Relu2Mul(got, []float32{-2, 3, nan, 0}, []float32{5, 5, 5, 5})
	sameBits(t, "Relu2Mul", got, []float32{0, 45, nan, 0})
	Generic.Relu2(got, []float32{-2, 3, nan, 0.5})
	sameBits(t, "Relu2", got, []float32{0, 9, nan, 0.25})
	Generic.Relu2Grad(got, []float32{-2, 3, nan, 0.5}, []float32{5, 5, 5, 5})
	sameBits(t, "Relu2Grad", got, []float32{0, 30, nan, 5})
	Generic.SubMul(got, []float32{1, 2, 3, 4}, 2, []float32{5, 6, 7, 8})
	sameBits(t, "SubMul", got, []float32{-5, 0, 7, 16})
	Generic.MulAdd(got, []float32{1, 1, 1, 1}, []float32{5, 6, 7, 8})
	sameBits(t, "MulAdd", got, []float32{0, 6, 14, 24})
	Generic.RescaleAdd(got, []int32{2, -3, 0, 1}, 0.5, []float32{1, 1, 1, 1})
	sameBits(t, "RescaleAdd", got, []float32{2, -0.5, 1, 1.5})
}

func TestExpAccuracy(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		var x []float32
		for v := float32(-110); v < 95; v += 0.00131 {
			x = append(x, v)
		}
		x = append(x, 0, float32(math.Copysign(0, -1)), 1e-30, 88.722, 88.73, -87.33, -103.9, -1e30, 1e30,
			float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()))
		y, twin := make([]float32, len(x)), make([]float32, len(x))
		isa.Exp(y, x)
		Generic.Exp(twin, x)
		sameBits(t, "Exp", y, twin)
		worst := 0.0
		for i, v := range x {
			exact := math.Exp(float64(v))
			w := float32(exact)
			if w != w || math.IsInf(float64(w), 0) || w == 0 {
				if y[i] != w && !(w != w && y[i] != y[i]) {
					t.Fatalf("exp(%v) = %v, want %v", v, y[i], w)
				}
				continue
			}
			ulp := float64(math.Nextafter32(w, float32(math.Inf(1))) - w)
			worst = max(worst, math.Abs(float64(y[i])-exact)/ulp)
		}
		t.Logf("largest error %.2f ulp", worst)
		if worst > 2 {
			t.Fatalf("largest error %.2f ulp, documented 2", worst)
		}
	})
}

func TestSoftmax(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		x := guardedCopy(t, randF32(10, n), front)
		y, want := guarded[float32](t, n, front), make([]float32, n)
		const scale = 0.25
		lse, wantLse := isa.Softmax(y, x, scale), Generic.Softmax(want, x, scale)
		sameBits(t, "Softmax", append(y[:n:n], lse), append(want, wantLse))
		top, sum := math.Inf(-1), 0.0
		for _, v := range x {
			top = max(top, float64(v)*scale)
		}
		for _, v := range x {
			sum += math.Exp(float64(v)*scale - top)
		}
		for i, v := range x {
			if exact := math.Exp(float64(v)*scale-top) / sum; math.Abs(float64(y[i])-exact) > 1e-5*exact+1e-40 {
				t.Fatalf("softmax %d of %d = %v, exactly %v", i, n, y[i], exact)
			}
		}
		if exact := top + math.Log(sum); n > 0 && math.Abs(float64(lse)-exact) > 1e-5*max(1, math.Abs(exact)) {
			t.Fatalf("log sum %v, exactly %v", lse, exact)
		}
	})
}

func TestAdamW(t *testing.T) {
	const lr, beta1, beta2, eps, decay, factor = 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5
	eachLength(t, func(t *testing.T, isa ISA, n int, front bool) {
		var got, want [4][]float32 // p, g, m, v
		for i := range got {
			x := randF32(uint64(11+i), n)
			if i >= 2 {
				x = fill[float32](n, 0)
			}
			got[i], want[i] = guardedCopy(t, x, front), x
		}
		p64, m64, v64 := make([]float64, n), make([]float64, n), make([]float64, n)
		for i, v := range got[0] {
			p64[i] = float64(v)
		}
		for step := 1.0; step <= 5; step++ {
			c1, c2 := 1-math.Pow(beta1, step), 1-math.Pow(beta2, step)
			f := AdamW{
				Grad: factor, Decay: 1 - lr*decay, Beta1: beta1, Mix1: 1 - beta1, Beta2: beta2, Mix2: 1 - beta2,
				InvRoot: float32(1 / math.Sqrt(c2)), Eps: eps, Rate: float32(lr / c1),
			}
			isa.AdamW(got[0], got[1], got[2], got[3], f)
			Generic.AdamW(want[0], want[1], want[2], want[3], f)
			for i, g32 := range got[1] {
				g := float64(g32) * factor
				m64[i] = beta1*m64[i] + (1-beta1)*g
				v64[i] = beta2*v64[i] + (1-beta2)*g*g
				p64[i] -= lr*decay*p64[i] + lr*(m64[i]/c1)/(math.Sqrt(v64[i]/c2)+eps)
			}
		}
		for i := range got {
			sameBits(t, "AdamW", got[i], want[i])
		}
		for i, p := range got[0] {
			if math.Abs(float64(p)-p64[i]) > 1e-5*max(1, math.Abs(p64[i])) {
				t.Fatalf("parameter %d is %v, exactly %v", i, p, p64[i])
			}
		}
	})
}

func TestConversions(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		f, back, twin := make([]float32, len(all)), make([]uint16, len(all)), make([]float32, len(all))
		for _, c := range []struct {
			name   string
			widen  func(isa ISA, dst []float32, src []uint16)
			narrow func(isa ISA, dst []uint16, src []float32)
		}{
			{"bf16", ISA.BF16ToF32, ISA.F32ToBF16},
			{"f16", ISA.F16ToF32, ISA.F32ToF16},
		} {
			c.widen(isa, f, all)
			c.widen(Generic, twin, all)
			sameBits(t, c.name, f, twin)
			c.narrow(isa, back, f)
			for i, v := range f {
				if v == v && back[i] != all[i] {
					t.Fatalf("%s: %04x became %v and then %04x", c.name, all[i], v, back[i])
				}
			}
			// Values between representable ones, ties among them.
			x := make([]float32, 0, 1<<17)
			r := newRand(15)
			for i := range 1 << 16 {
				x = append(x, math.Float32frombits(uint32(i)<<16|0x8000), math.Float32frombits(r.Uint32()))
				if i%7 == 0 {
					x = append(x, math.Float32frombits(uint32(i)<<16|0x1000), math.Float32frombits(uint32(i)<<16|0x3000))
				}
			}
			got, want := make([]uint16, len(x)), make([]uint16, len(x))
			c.narrow(isa, got, x)
			c.narrow(Generic, want, x)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: narrowing differs from Generic", c.name)
			}
			for i, v := range x { // the result is nearest: no neighbour is nearer
				var near [3]float32
				c.widen(Generic, near[:], []uint16{want[i] - 1, want[i], want[i] + 1})
				d := math.Abs(float64(near[1]) - float64(v))
				if v != v || math.IsInf(float64(near[1]), 0) {
					continue
				}
				for _, o := range []float32{near[0], near[2]} {
					e := math.Abs(float64(o) - float64(v))
					if e < d || e == d && want[i]&1 == 1 && o != near[1] {
						t.Fatalf("%s: %v became %v, but %v is at least as near", c.name, v, near[1], o)
					}
				}
			}
		}
		for _, n := range lengths {
			for _, front := range []bool{false, true} {
				h, x := guardedCopy(t, all[:n], front), guardedCopy(t, randF32(16, n), front)
				isa.BF16ToF32(x, h)
				isa.F16ToF32(x, h)
				isa.F32ToF16(h, x)
				isa.F32ToBF16(h, x)
			}
		}
	})
	var edge [4]uint16
	Generic.F32ToF16(edge[:], []float32{65519.996, 65520, 1e-8, float32(math.Inf(-1))})
	if edge != [4]uint16{0x7bff, 0x7c00, 0, 0xfc00} {
		t.Errorf("f16 edges: %04x", edge)
	}
}

func TestRotate(t *testing.T) {
	eachLength(t, func(t *testing.T, isa ISA, half int, front bool) {
		x := guardedCopy(t, randF32(31, 2*half), front)
		cos, sin := guarded[float32](t, half, front), guarded[float32](t, half, front)
		for i := range cos {
			s, c := math.Sincos(float64(i) * 0.37)
			cos[i], sin[i] = float32(c), float32(s)
		}
		for _, inverse := range []bool{false, true} {
			y, want := guarded[float32](t, 2*half, front), make([]float32, 2*half)
			isa.Rotate(y, x, cos, sin, inverse)
			for i := range half {
				c, s := cos[i], sin[i]
				if inverse {
					want[i] = float32(x[i]*c) + float32(x[half+i]*s)
					want[half+i] = float32(x[half+i]*c) - float32(x[i]*s)
					continue
				}
				want[i] = float32(x[i]*c) - float32(x[half+i]*s)
				want[half+i] = float32(x[half+i]*c) + float32(x[i]*s)
			}
			sameBits(t, "Rotate", y, want)
			copy(y, x)
			isa.Rotate(y, y, cos, sin, inverse)
			sameBits(t, "Rotate in place", y, want)
		}
	})
}
