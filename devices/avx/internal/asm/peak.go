package asm

// The loops below measure the machine, not a model: benchmarks run them beside
// a kernel and report the kernel as a share of them, because on a shared
// machine only ratios from one process mean much. On Generic they do nothing.

// ReadStream reads len(b) rounded down to 256 bytes and returns that number.
func (isa ISA) ReadStream(b []byte) int {
	n := len(b) / 256
	if isa == Generic || n == 0 {
		return 0
	}
	readStreamAVX2(&b[0], n)
	return n * 256
}

// PeakMAC runs the byte multiply-adds of the ternary kernels on registers and
// returns how many it did: VPMADDUBSW with VPADDW, or VPDPBUSD on
// AVX512; AVXVNNI counts as AVX2, which it should beat.
func (isa ISA) PeakMAC(iters int) int {
	switch isa {
	case AVX2, AVXVNNI:
		peakMaddubsAVX2(iters)
		return iters * 12 * 32
	case AVX512:
		peakVNNIAVX512(iters)
		return iters * 24 * 64
	}
	return 0
}

// PeakFMA runs float32 fused multiply-adds on registers and returns how many.
func (isa ISA) PeakFMA(iters int) int {
	switch isa {
	case AVX2, AVXVNNI:
		peakFMAAVX2(iters)
		return iters * 12 * 8
	case AVX512:
		peakFMAAVX512(iters)
		return iters * 24 * 16
	}
	return 0
}
