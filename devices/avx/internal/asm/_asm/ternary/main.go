// Command ternary generates the kernels on the i2x16 layout.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const blockBytes = 64

// prefetchAhead is how far the vector kernels ask for memory before they use
// it. Without it a core waits for memory and computes in turn.
const prefetchAhead = 6144

func main() {
	emit.Begin()
	gemvAVX2()
	gemvAVX512()
	unpackAVX2()
	unpackAVX512()
	ones := GLOBL("ones16", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(0x0001000100010001))
	}
	for cols := 1; cols <= 6; cols++ {
		tileAVX2(cols, ones)
	}
	for panels := 1; panels <= 2; panels++ {
		for cols := 1; cols <= 12; cols++ {
			tileAVX512(panels, cols)
		}
	}
	gemvVNNI()
	for cols := 1; cols <= 6; cols++ {
		tileVNNI(cols)
	}
	Generate()
}

func bytesConst(name string, v byte) Mem {
	word := uint64(v) * 0x0101010101010101
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(word))
	}
	return m
}

const gemvSig = "func(acc *int32, w *byte, q, qtail *int8, blocks, panels int, init int32)"

// gemvAVX2 avoids two of the three shifts per vector: bits 2,3 stay where they
// are and accumulate at four times their value in sums of their own.
func gemvAVX2() {
	emit.Func("gemvTernaryAVX2", gemvSig,
		"gemvTernaryAVX2 writes 16 sums per panel: init plus the products of blocks",
		"whole blocks with q, and of one more block with qtail unless it is nil.")
	acc, w, q0, qtail := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("qtail")
	blocks, panels := emit.Ptr("blocks"), emit.Ptr("panels")
	init := emit.DwordsParam(YMM(), "init")
	low, high, ones := YMM(), YMM(), emit.WordsY1()
	VMOVDQU(bytesConst("mask03", 0x03), low)
	VMOVDQU(bytesConst("mask0c", 0x0c), high)

	sum := [2]reg.VecVirtual{YMM(), YMM()}  // int32, rows 0..7 and 8..15
	acc1 := [2]reg.VecVirtual{YMM(), YMM()} // int16
	acc4 := [2]reg.VecVirtual{YMM(), YMM()} // int16, four times the value
	clearAcc := func() {
		for h := range 2 {
			VPXOR(acc1[h], acc1[h], acc1[h])
			VPXOR(acc4[h], acc4[h], acc4[h])
		}
	}
	block := func(q reg.Register) {
		var b [4]reg.VecVirtual
		for j := range b {
			b[j] = YMM()
			VPBROADCASTD(Mem{Base: q, Disp: 4 * j}, b[j])
		}
		for h := range 2 {
			v := YMM()
			VMOVDQU(Mem{Base: w, Disp: 32 * h}, v)
			for j := range b {
				t := YMM()
				mask, dst := low, acc1[h]
				if j%2 == 1 {
					mask, dst = high, acc4[h]
				}
				if j == 2 {
					VPSRLW(Imm(4), v, v)
				}
				VPAND(mask, v, t)
				VPMADDUBSW(b[j], t, t)
				VPADDW(t, dst, dst)
			}
		}
		PREFETCHT0(Mem{Base: w, Disp: prefetchAhead})
		ADDQ(Imm(blockBytes), w)
	}
	// Eight blocks put at most 16·2·8·127 = 32512 (and at least -32768) into a
	// lane of acc4.
	widen := func() {
		for h := range 2 {
			VPSRAW(Imm(2), acc4[h], acc4[h])
			VPADDW(acc4[h], acc1[h], acc1[h])
			VPMADDWD(ones, acc1[h], acc1[h])
			VPADDD(acc1[h], sum[h], sum[h])
		}
	}
	emit.Loop("panel", panels, func() {
		q, left := GP64(), GP64()
		MOVQ(q0, q)
		MOVQ(blocks, left)
		VMOVDQA(init, sum[0])
		VMOVDQA(init, sum[1])
		Label("chunk")
		TESTQ(left, left)
		JZ(LabelRef("tail"))
		n := GP64()
		MOVQ(U32(8), n)
		CMPQ(left, n)
		CMOVQLT(left, n)
		SUBQ(n, left)
		clearAcc()
		Label("block")
		block(q)
		ADDQ(Imm(16), q)
		DECQ(n)
		JNZ(LabelRef("block"))
		widen()
		JMP(LabelRef("chunk"))
		Label("tail")
		TESTQ(qtail, qtail)
		JZ(LabelRef("store"))
		clearAcc()
		block(qtail)
		widen()
		Label("store")
		VMOVDQU(sum[0], Mem{Base: acc})
		VMOVDQU(sum[1], Mem{Base: acc, Disp: 32})
		ADDQ(Imm(64), acc)
	})
	emit.Ret()
}

func gemvAVX512() {
	emit.Func("gemvTernaryAVX512", gemvSig,
		"gemvTernaryAVX512 is gemvTernaryAVX2 with VNNI.")
	acc, w, q0, qtail := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("qtail")
	blocks, panels := emit.Ptr("blocks"), emit.Ptr("panels")
	init := emit.DwordsParam(ZMM(), "init")
	low, high := ZMM(), ZMM()
	VMOVDQU64(NewDataAddr(Symbol{Name: "mask03", Static: true}, 0), low)
	VMOVDQU64(NewDataAddr(Symbol{Name: "mask0c", Static: true}, 0), high)
	var s [4]reg.VecVirtual // odd ones hold four times the value
	for j := range s {
		s[j] = ZMM()
	}
	block := func(q reg.Register) {
		v, v4 := ZMM(), ZMM()
		VMOVDQU64(Mem{Base: w}, v)
		VPSRLW(Imm(4), v, v4)
		for j := range s {
			src, mask := v, low
			if j >= 2 {
				src = v4
			}
			if j%2 == 1 {
				mask = high
			}
			t := ZMM()
			VPANDQ(mask, src, t)
			VPDPBUSD_BCST(Mem{Base: q, Disp: 4 * j}, t, s[j])
		}
		PREFETCHT0(Mem{Base: w, Disp: prefetchAhead})
		ADDQ(Imm(blockBytes), w)
	}
	emit.Loop("panel", panels, func() {
		q, n := GP64(), GP64()
		MOVQ(q0, q)
		MOVQ(blocks, n)
		for j := range s {
			VPXORQ(s[j], s[j], s[j])
		}
		emit.Loop("block", n, func() {
			block(q)
			ADDQ(Imm(16), q)
		})
		TESTQ(qtail, qtail)
		JZ(LabelRef("store"))
		block(qtail)
		Label("store")
		VPADDD(s[1], s[3], s[3])
		VPSRAD(Imm(2), s[3], s[3])
		VPADDD(s[0], s[2], s[2])
		VPADDD(s[2], s[3], s[3])
		VPADDD(s[3], init, s[3])
		VMOVDQU32(s[3], Mem{Base: acc})
		ADDQ(Imm(64), acc)
	})
	emit.Ret()
}

func unpackAVX2() {
	emit.Func("unpackTernaryAVX2", "func(dst, src *byte, blocks int)",
		"unpackTernaryAVX2 writes a byte a weight: 256 bytes per block of 64, four",
		"steps of 16 rows by 4 columns.")
	dst, src, blocks := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("blocks")
	low := YMM()
	VMOVDQU(NewDataAddr(Symbol{Name: "mask03", Static: true}, 0), low)
	emit.Loop("block", blocks, func() {
		for h := range 2 {
			v := YMM()
			VMOVDQU(Mem{Base: src, Disp: 32 * h}, v)
			emit.Crumbs(low, v, func(j int, t reg.VecVirtual) {
				VMOVDQU(t, Mem{Base: dst, Disp: 64*j + 32*h})
			})
		}
		PREFETCHT0(Mem{Base: src, Disp: 4096})
		ADDQ(Imm(blockBytes), src)
		ADDQ(U32(4*blockBytes), dst)
	})
	emit.Ret()
}

func unpackAVX512() {
	emit.Func("unpackTernaryAVX512", "func(dst, src *byte, blocks int)",
		"unpackTernaryAVX512 is unpackTernaryAVX2 with a block to a register.")
	dst, src, blocks := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("blocks")
	low := ZMM()
	VMOVDQU64(NewDataAddr(Symbol{Name: "mask03", Static: true}, 0), low)
	emit.Loop("block", blocks, func() {
		v := ZMM()
		VMOVDQU64(Mem{Base: src}, v)
		emit.Crumbs(low, v, func(j int, t reg.VecVirtual) {
			VMOVDQU64(t, Mem{Base: dst, Disp: 64 * j})
		})
		PREFETCHT0(Mem{Base: src, Disp: 4096})
		ADDQ(Imm(blockBytes), src)
		ADDQ(U32(4*blockBytes), dst)
	})
	emit.Ret()
}

// tileAVX2 is 16 rows by up to six tokens in 16 registers: two of weights, 12
// of int16 sums, one broadcast that also takes its second product, one product.
func tileAVX2(cols int, ones Mem) {
	emit.Func(fmt.Sprintf("tileTernaryAVX2x%d", cols),
		"func(c *int32, ldc int, w *byte, q *int8, ldq, blocks int, init *int32)",
		fmt.Sprintf("tileTernaryAVX2x%d sets 16 sums of each of %d tokens to init plus the products", cols, cols),
		"of an unpacked panel of 16·blocks columns. ldc and ldq are in bytes.")
	c, w, q, left := emit.Ptr("c"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("blocks")
	init := emit.Ptr("init")
	out := emit.NewRows(c, emit.Ptr("ldc"), cols)
	in := emit.NewRows(q, emit.Ptr("ldq"), cols)
	acc := make([][2]reg.VecVirtual, cols)
	for j := range acc {
		acc[j] = [2]reg.VecVirtual{YMM(), YMM()}
		VPBROADCASTD(Mem{Base: init, Disp: 4 * j}, acc[j][0])
		VMOVDQU(acc[j][0], out.At(j, 0))
		VMOVDQU(acc[j][0], out.At(j, 32))
	}
	n := GP64()
	Label("chunk")
	// 16 blocks are 64 steps of at most 2·2·127 each, 32512 in an int16.
	MOVQ(U32(16), n)
	CMPQ(left, n)
	CMOVQLT(left, n)
	SUBQ(n, left)
	for j := range acc {
		VPXOR(acc[j][0], acc[j][0], acc[j][0])
		VPXOR(acc[j][1], acc[j][1], acc[j][1])
	}
	Label("block")
	for step := range 4 {
		w0, w1 := YMM(), YMM()
		VMOVDQU(Mem{Base: w, Disp: 64 * step}, w0)
		VMOVDQU(Mem{Base: w, Disp: 64*step + 32}, w1)
		for j := range acc {
			b, t := YMM(), YMM()
			VPBROADCASTD(in.At(j, 4*step), b)
			VPMADDUBSW(b, w0, t)
			VPMADDUBSW(b, w1, b)
			VPADDW(t, acc[j][0], acc[j][0])
			VPADDW(b, acc[j][1], acc[j][1])
		}
	}
	in.Advance(16)
	ADDQ(U32(256), w)
	DECQ(n)
	JNZ(LabelRef("block"))
	for j := range acc {
		for h := range 2 {
			VPMADDWD(ones, acc[j][h], acc[j][h])
			VPADDD(out.At(j, 32*h), acc[j][h], acc[j][h])
			VMOVDQU(acc[j][h], out.At(j, 32*h))
		}
	}
	TESTQ(left, left)
	JNZ(LabelRef("chunk"))
	emit.Ret()
}

// tileAVX512 is one or two panels by up to 12 tokens.
func tileAVX512(panels, cols int) {
	name := fmt.Sprintf("tileTernaryAVX512p%dx%d", panels, cols)
	emit.Func(name,
		"func(c *int32, ldc int, w *byte, ldw int, q *int8, ldq, blocks int, init *int32)",
		fmt.Sprintf("%s sets %d sums of each of %d tokens to init plus the products", name, 16*panels, cols),
		"of unpacked panels, ldw bytes apart, of 16·blocks columns.")
	c, w, q, blocks := emit.Ptr("c"), emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("blocks")
	init := emit.Ptr("init")
	ldw := emit.Ptr("ldw")
	acc := make([][2]reg.VecVirtual, cols)
	for j := range acc {
		for p := range panels {
			acc[j][p] = ZMM()
			VPBROADCASTD(Mem{Base: init, Disp: 4 * j}, acc[j][p])
		}
	}
	in := emit.NewRows(q, emit.Ptr("ldq"), cols)
	emit.Loop("block", blocks, func() {
		for step := range 4 {
			var wv [2]reg.VecVirtual
			for p := range panels {
				wv[p] = ZMM()
				m := Mem{Base: w, Disp: 64 * step}
				if p == 1 {
					m.Index, m.Scale = ldw, 1
				}
				VMOVDQU64(m, wv[p])
			}
			for j := range acc {
				if panels == 1 {
					VPDPBUSD_BCST(in.At(j, 4*step), wv[0], acc[j][0])
					continue
				}
				b := ZMM()
				VPBROADCASTD(in.At(j, 4*step), b)
				VPDPBUSD(b, wv[0], acc[j][0])
				VPDPBUSD(b, wv[1], acc[j][1])
			}
		}
		in.Advance(16)
		ADDQ(U32(256), w)
	})
	out := emit.NewRows(c, emit.Ptr("ldc"), cols)
	for j := range acc {
		for p := range panels {
			VMOVDQU32(acc[j][p], out.At(j, 64*p))
		}
	}
	emit.Ret()
}
