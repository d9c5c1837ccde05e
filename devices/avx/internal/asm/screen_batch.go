package asm

// ScreenTokens is how many tokens ScreenNibbles4 takes.
const ScreenTokens = 4

// ScreenNibbles4 writes sums[t][r] = 4·Σ w·q − bases[t] for the rows of some groups and
// four tokens, two in each of qa and qb. Sums as for ScreenNibbles, whose results acc has
// room for. It may ask for a quarter as many bytes of next as w has.
func (isa ISA) ScreenNibbles4(sums *[ScreenTokens][]float64, w []byte, qa, qb []int8, groups, blocks int, bases *[ScreenTokens]float64, acc []int32, next []byte) {
	rows := screenGroup * groups
	if isa == AVX512 && rows > 0 && blocks > 0 {
		size := blocks * 4 * ScreenSlot / 2
		w, qa, qb = w[:rows*blocks*64], qa[:size], qb[:size]
		if len(next) < rows*blocks*16 {
			next = w
		}
		nibbles4AVX512(&sums[0][:rows][0], &sums[1][:rows][0], &sums[2][:rows][0], &sums[3][:rows][0], &w[0], &qa[0], &qb[0], blocks, groups, &bases[0], &next[0])
		return
	}
	for i, q := range [][]int8{qa, qb} {
		isa.ScreenNibbles(acc, w, q, groups, blocks)
		for j := range 2 {
			out, base := sums[2*i+j][:rows], bases[2*i+j]
			for r := range out {
				out[r] = 4*float64(acc[2*r+j]) - base
			}
		}
	}
}
