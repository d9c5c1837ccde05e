package asm

import "math"

// CodesHead is the most channels of a head: sums of so many products, of 16 bits
// by 8, fit 32 bits. Half as many positions, with factors that are not negative,
// fit as well.
const CodesHead = 512

// QuantizeI16 writes codes = round_half_even(x·32767/max|x|) and returns the step
// that a code is worth; zeros have the step 0. The codes are as long as x or
// longer; x must be finite. The result is the same on every ISA.
func (isa ISA) QuantizeI16(codes []int16, x []float32) (step float32) {
	codes = codes[:len(x)]
	most := isa.AbsMax(x)
	if most < math.SmallestNonzeroFloat32*(1<<24)*32767 { // the inverse would not be a number
		clear(codes)
		return 0
	}
	inverse := 32767 / most
	n := 0
	if isa != Generic {
		if n = len(x) / 16 * 16; n > 0 {
			quantizeI16AVX2(&codes[0], &x[0], n/16, inverse)
		}
	}
	for i := n; i < len(x); i++ {
		codes[i] = int16(min(math.RoundToEven(float64(x[i]*inverse)), 32767))
	}
	return most / 32767
}

// CodesDot multiplies m rows of q with the positions of a block: y[h,p] =
// (Σ_i q[h,i]·k[i/4,p,i%4])·steps[p]·scales[h], for i below hd, a multiple of 4 and
// at most CodesHead, and as many positions as there are steps. ldy and ldq are the
// distances of rows. The result is the same on every ISA. So many bytes ahead of k
// lies what will be read next: memory is asked for it meanwhile.
func (isa ISA) CodesDot(y []float32, ldy int, k []int8, q []int16, ldq int, steps, scales []float32, hd, ahead int) {
	m, size := len(scales), len(steps)
	if m == 0 || size == 0 {
		return
	}
	if hd < 4 || hd%4 != 0 || hd > CodesHead || ldy < 0 || ldq < 0 || (m-1)*ldy+size > len(y) || (m-1)*ldq+hd > len(q) || hd*size > len(k) {
		panic("asm: slice is too short for its shape")
	}
	p := 0
	for isa != Generic && p < size {
		tiles, wide := (size-p)/32, isa == AVX512
		if !wide || tiles == 0 {
			tiles, wide = (size-p)/8, false
		}
		if tiles == 0 {
			break
		}
		for h := 0; h < m; {
			yh, kp, qh := &y[h*ldy+p], &k[4*p], &q[h*ldq]
			four := m-h >= 4
			switch {
			case four && wide:
				codesDot4AVX512(yh, 4*ldy, kp, 4*size, qh, 2*ldq, hd/4, &steps[p], &scales[h], tiles, ahead)
			case four:
				codesDot4AVX2(yh, 4*ldy, kp, 4*size, qh, 2*ldq, hd/4, &steps[p], &scales[h], tiles, ahead)
			case wide:
				codesDot1AVX512(yh, 4*ldy, kp, 4*size, qh, 2*ldq, hd/4, &steps[p], &scales[h], tiles, ahead)
			default:
				codesDot1AVX2(yh, 4*ldy, kp, 4*size, qh, 2*ldq, hd/4, &steps[p], &scales[h], tiles, ahead)
			}
			if h++; four {
				h += 3
			}
		}
		if wide {
			p += 32 * tiles
		} else {
			p += 8 * tiles
		}
	}
	for ; p < size; p++ {
		for h := range m {
			var s int32
			for i, x := range q[h*ldq:][:hd] {
				s += int32(x) * int32(k[(i/4*size+p)*4+i%4])
			}
			y[h*ldy+p] = float32(float32(s)*steps[p]) * scales[h]
		}
	}
}

// CodesAccum adds the products of m rows of factors with the positions of a block:
// acc[h,c] += Σ_j p[h,j]·v[c/32,j/4,c%32,j%4] for c below hd and j below size, a
// multiple of 4; the last 32 channels may be fewer. ldacc and ldp are the distances
// of rows. Sums wrap around. ahead is that of CodesDot.
func (isa ISA) CodesAccum(acc []int32, ldacc int, p []int16, ldp int, v []int8, size, m, hd, ahead int) {
	if m == 0 || size == 0 || hd == 0 {
		return
	}
	if size%4 != 0 || ldacc < 0 || ldp < 0 || (m-1)*ldacc+hd > len(acc) || (m-1)*ldp+size > len(p) || hd*size > len(v) {
		panic("asm: slice is too short for its shape")
	}
	for from := 0; from < hd; from += 32 {
		channels := min(32, hd-from)
		isa.codesAccum(acc[from:], ldacc, p, ldp, v[from*size:], size, m, channels, ahead)
	}
}

// codesAccum is CodesAccum for 32 channels or fewer.
func (isa ISA) codesAccum(acc []int32, ldacc int, p []int16, ldp int, v []int8, size, m, channels, ahead int) {
	passes, wide := channels/8, isa == AVX512 && channels == 32
	if isa == Generic {
		passes = 0
	}
	for h := 0; passes > 0 && h < m; {
		ah, ph := &acc[h*ldacc], &p[h*ldp]
		four := m-h >= 4
		switch {
		case four && wide:
			codesAccum4AVX512(ah, 4*ldacc, ph, 2*ldp, &v[0], 4*channels, size/4, 1, ahead)
		case four:
			codesAccum4AVX2(ah, 4*ldacc, ph, 2*ldp, &v[0], 4*channels, size/4, passes, ahead)
		case wide:
			codesAccum1AVX512(ah, 4*ldacc, ph, 2*ldp, &v[0], 4*channels, size/4, 1, ahead)
		default:
			codesAccum1AVX2(ah, 4*ldacc, ph, 2*ldp, &v[0], 4*channels, size/4, passes, ahead)
		}
		if h++; four {
			h += 3
		}
	}
	for c := 8 * passes; c < channels; c++ {
		for h := range m {
			for j, x := range p[h*ldp:][:size] {
				acc[h*ldacc+c] += int32(x) * int32(v[(j/4*channels+c)*4+j%4])
			}
		}
	}
}
