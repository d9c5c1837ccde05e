// Command screen generates sums of 4-bit and 2-bit unsigned weights times 16-bit
// activations, which are given as two signed bytes.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

// plane says how 64 bytes of a row are spread over columns.
type plane struct {
	name  string
	bits  int
	parts int // 64 columns each
}

var planes = []plane{{"Nibbles", 4, 2}, {"Crumbs", 2, 4}}

// Activations come in groups of 128 columns: 128 high bytes, then 128 low ones.
func offset(part int, low bool) int {
	at := part/2*256 + part%2*64
	if low {
		at += 128
	}
	return at
}

// ahead is how far beyond a row's place memory is asked for, in bytes.
const ahead = 4096

func main() {
	emit.Begin()
	for _, p := range planes {
		wide(p)
		narrow(p)
	}
	Generate()
}

func begin(p plane, isa string) (acc, w, ldw, q, blocks, pairs reg.GPVirtual) {
	name := "screen" + p.name + isa
	emit.Func(name, "func(acc *int32, w *byte, ldw int, q *int8, blocks, pairs int)",
		name+" writes, for pairs of rows, the sums with the high bytes and with the low",
		fmt.Sprintf("bytes of q over blocks of %d columns. ldw is in bytes.", 64*p.parts))
	return emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("ldw"), emit.Ptr("q"), emit.Ptr("blocks"), emit.Ptr("pairs")
}

// loop walks pairs of rows and their blocks. step gets the two rows' addresses
// and that of the activations.
func loop(p plane, acc, w, ldw, q, blocks, pairs reg.GPVirtual, zero func(), step func(row [2]Mem, q Mem), sums func() [4]reg.VecVirtual) {
	emit.Loop("pair", pairs, func() {
		zero()
		a, b, x, left := GP64(), GP64(), GP64(), GP64()
		MOVQ(w, a)
		LEAQ(Mem{Base: w, Index: ldw, Scale: 1}, b)
		MOVQ(q, x)
		MOVQ(blocks, left)
		LEAQ(Mem{Base: w, Index: ldw, Scale: 2}, w)
		emit.Loop("block", left, func() {
			PREFETCHT0(Mem{Base: a, Disp: ahead})
			PREFETCHT0(Mem{Base: b, Disp: ahead})
			step([2]Mem{{Base: a}, {Base: b}}, Mem{Base: x})
			ADDQ(Imm(64), a)
			ADDQ(Imm(64), b)
			ADDQ(U32(uint32(128*p.parts)), x)
		})
		VMOVDQU(fold(sums()), Mem{Base: acc})
		ADDQ(Imm(16), acc)
	})
	emit.Ret()
}

// fold leaves the sums of four YMM vectors of int32 in one XMM.
func fold(v [4]reg.VecVirtual) reg.VecVirtual {
	VPHADDD(v[1], v[0], v[0])
	VPHADDD(v[3], v[2], v[2])
	VPHADDD(v[2], v[0], v[0])
	high := XMM()
	VEXTRACTI128(Imm(1), v[0], high)
	VPADDD(high, v[0].AsX(), high)
	return high
}

// wide is the AVX-512 VNNI form: rows by two kinds of bytes by two chains.
func wide(p plane) {
	acc, w, ldw, q, blocks, pairs := begin(p, "AVX512")
	mask := ZMM()
	m := GP32()
	MOVL(U32(uint32(1<<p.bits-1)*0x01010101), m)
	VPBROADCASTD(m, mask)
	var s [2][2][2]reg.VecVirtual // row, low, chain
	each := func(f func(v *reg.VecVirtual)) {
		for r := range s {
			for l := range s[r] {
				for c := range s[r][l] {
					f(&s[r][l][c])
				}
			}
		}
	}
	each(func(v *reg.VecVirtual) { *v = ZMM() })
	loop(p, acc, w, ldw, q, blocks, pairs,
		func() { each(func(v *reg.VecVirtual) { VPXORQ(*v, *v, *v) }) },
		func(row [2]Mem, x Mem) {
			var in [2]reg.VecVirtual
			for r := range in {
				in[r] = ZMM()
				VMOVDQU64(row[r], in[r])
			}
			for part := range p.parts {
				var codes [2]reg.VecVirtual
				for r := range in {
					codes[r] = ZMM()
					if part == 0 {
						VPANDQ(mask, in[r], codes[r])
						continue
					}
					VPSRLW(Imm(uint64(p.bits*part)), in[r], codes[r])
					VPANDQ(mask, codes[r], codes[r])
				}
				for l := range 2 {
					xv := ZMM()
					VMOVDQU64(x.Offset(offset(part, l == 1)), xv)
					for r := range in {
						VPDPBUSD(xv, codes[r], s[r][l][part%2])
					}
				}
			}
		},
		func() (out [4]reg.VecVirtual) {
			for r := range s {
				for l := range s[r] {
					v, half := s[r][l][0], YMM()
					VPADDD(s[r][l][1], v, v)
					VEXTRACTI64X4(Imm(1), v, half)
					VPADDD(half, v.AsY(), half)
					out[2*r+l] = half
				}
			}
			return out
		})
}

// narrow is the AVX2 form. A pair of products is at most 2·15·128 and a block
// adds eight of them: 16-bit sums hold a block of either plane.
func narrow(p plane) {
	acc, w, ldw, q, blocks, pairs := begin(p, "AVX2")
	mask, ones := YMM(), YMM()
	m := GP32()
	MOVL(U32(uint32(1<<p.bits-1)*0x01010101), m)
	VMOVD(m, mask.AsX())
	VPBROADCASTD(mask.AsX(), mask)
	VPCMPEQW(ones, ones, ones)
	VPSRLW(Imm(15), ones, ones)
	var s [4]reg.VecVirtual // row, low
	for i := range s {
		s[i] = YMM()
	}
	loop(p, acc, w, ldw, q, blocks, pairs,
		func() {
			for _, v := range s {
				VPXOR(v, v, v)
			}
		},
		func(row [2]Mem, x Mem) {
			for r := range row {
				var block [2]reg.VecVirtual
				for half := range 2 {
					in := YMM()
					VMOVDQU(row[r].Offset(32*half), in)
					for part := range p.parts {
						codes := in
						if part > 0 {
							codes = YMM()
							VPSRLW(Imm(uint64(p.bits*part)), in, codes)
							VPAND(mask, codes, codes)
						} else {
							codes = YMM()
							VPAND(mask, in, codes)
						}
						for l := range block {
							at := x.Offset(offset(part, l == 1) + 32*half)
							if block[l] == nil {
								block[l] = YMM()
								VPMADDUBSW(at, codes, block[l])
								continue
							}
							t := YMM()
							VPMADDUBSW(at, codes, t)
							VPADDW(t, block[l], block[l])
						}
					}
				}
				for l, v := range block {
					VPMADDWD(ones, v, v)
					VPADDD(v, s[2*r+l], s[2*r+l])
				}
			}
		},
		func() [4]reg.VecVirtual { return s })
}
