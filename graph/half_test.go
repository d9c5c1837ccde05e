package graph

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// halfFormat describes a 16-bit format by first principles.
type halfFormat struct {
	name     string
	man      int // mantissa bits
	bias     int
	widen    func(uint16) float32
	narrow   func(float32) uint16
	finite   []float64 // non-negative finite values, ascending; index is the code
	infinity uint16
}

func halfFormats() []*halfFormat {
	fs := []*halfFormat{
		{name: "f16", man: 10, bias: 15, widen: F16ToF32, narrow: F32ToF16, infinity: 0x7c00},
		{name: "bf16", man: 7, bias: 127, widen: BF16ToF32, narrow: F32ToBF16, infinity: 0x7f80},
	}
	for _, f := range fs {
		for h := range int(f.infinity) {
			exp, man := h>>f.man, float64(h&(1<<f.man-1))
			v := math.Ldexp(man, 1-f.bias-f.man)
			if exp > 0 {
				v = math.Ldexp(1+man/float64(int(1)<<f.man), exp-f.bias)
			}
			f.finite = append(f.finite, v)
		}
	}
	return fs
}

// nearest is the oracle: the code of the value closest to |x|, even on a tie.
func (f *halfFormat) nearest(x float64) uint16 {
	ax := math.Abs(x)
	sign := uint16(0)
	if math.Signbit(x) {
		sign = 0x8000
	}
	last := len(f.finite) - 1
	step := f.finite[last] - f.finite[last-1]
	if ax >= f.finite[last]+step/2 {
		return sign | f.infinity
	}
	i := sort.SearchFloat64s(f.finite, ax) // the first value not below
	if i > last {
		return sign | uint16(last)
	}
	if i == 0 || f.finite[i] == ax {
		return sign | uint16(i)
	}
	below, above := ax-f.finite[i-1], f.finite[i]-ax
	if below < above || below == above && (i-1)%2 == 0 {
		i--
	}
	return sign | uint16(i)
}

func TestHalfRoundTripsEveryCode(t *testing.T) {
	for _, f := range halfFormats() {
		for h := range 1 << 16 {
			w := f.widen(uint16(h))
			abs := uint16(h) & 0x7fff
			if abs > f.infinity {
				if w == w {
					t.Fatalf("%s %#04x widens to %g, want NaN", f.name, h, w)
				}
				if back := f.narrow(w); f.widen(back) == f.widen(back) {
					t.Fatalf("%s %#04x: NaN narrows to %#04x", f.name, h, back)
				}
				continue
			}
			want := math.Inf(1)
			if abs < f.infinity {
				want = f.finite[abs]
			}
			if h&0x8000 != 0 {
				want = -want
			}
			if float64(w) != want || math.Signbit(float64(w)) != (h&0x8000 != 0) {
				t.Fatalf("%s %#04x widens to %g, want %g", f.name, h, w, want)
			}
			if back := f.narrow(w); back != uint16(h) {
				t.Fatalf("%s %#04x comes back as %#04x", f.name, h, back)
			}
		}
	}
}

func TestHalfRoundsToNearestEven(t *testing.T) {
	for _, f := range halfFormats() {
		check := func(x float32) {
			t.Helper()
			for _, x := range []float32{x, -x} {
				if got, want := f.narrow(x), f.nearest(float64(x)); got != want {
					t.Fatalf("%s: %g (%#08x) rounds to %#04x, want %#04x", f.name, x, math.Float32bits(x), got, want)
				}
			}
		}
		// Every boundary between neighbours, and one f32 step either side.
		for i := range f.finite {
			next := math.MaxFloat64
			if i+1 < len(f.finite) {
				next = f.finite[i+1]
			} else {
				next = f.finite[i] + (f.finite[i] - f.finite[i-1])
			}
			mid := float32((f.finite[i] + next) / 2)
			check(mid)
			check(math.Nextafter32(mid, float32(math.Inf(1))))
			check(math.Nextafter32(mid, 0))
		}
		check(math.MaxFloat32)
		check(math.SmallestNonzeroFloat32)
		check(float32(math.Inf(1)))
		r := rand.New(rand.NewPCG(1, 2))
		for range 200_000 {
			x := math.Float32frombits(r.Uint32() & 0x7fffffff)
			if x == x {
				check(x)
			}
		}
	}
}
