// Command cols generates the kernels on the i2c256 layout.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

const (
	lineBytes = 64
	lineRows  = 256
	// ahead is how many columns are asked for before they are used, and how many
	// go past one line of sums while these are in registers: asm.colsAhead.
	ahead = 64
	vecs  = lineRows / 16 // registers of sums of a line
)

func main() {
	emit.Begin()
	nonzero()
	nonzeroAVX2()
	gemv()
	gemvAVX2()
	for z := range 4 {
		unpack("AVX512", ZMM, z)
	}
	for z := range 4 {
		unpack("AVX2", YMM, z)
	}
	Generate()
}

func nonzero() {
	emit.Func("nonzeroAVX512", "func(offs *uint32, codes, q *int8, groups int, first, stride uint32) int",
		"nonzeroAVX512 appends to offs and codes, for each q[i] of 16·groups that is not",
		"zero, first+i·stride and q[i]. It returns how many there are and writes up to 16",
		"more of no meaning.")
	offs, codes, q, groups := emit.Ptr("offs"), emit.Ptr("codes"), emit.Ptr("q"), emit.Ptr("groups")
	at, step, x := ZMM(), emit.DwordsParam(ZMM(), "stride"), XMM()
	iota := GLOBL("iota16", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(i)))
	}
	VPMULLD(iota, step, at)
	VPADDD(emit.DwordsParam(ZMM(), "first"), at, at)
	VPSLLD(Imm(4), step, step)
	count := GP64()
	XORQ(count, count)
	emit.Loop("group", groups, func() {
		v, n := ZMM(), GP64()
		VPMOVSXBD(Mem{Base: q}, v)
		k := K()
		VPTESTMD(v, v, k)
		VPCOMPRESSD_Z(v, k, v)
		VPMOVDB(v, x)
		VMOVDQU(x, Mem{Base: codes, Index: count, Scale: 1})
		o := ZMM()
		VPCOMPRESSD_Z(at, k, o)
		VMOVDQU32(o, Mem{Base: offs, Index: count, Scale: 4})
		KMOVW(k, n.As32())
		POPCNTL(n.As32(), n.As32())
		ADDQ(n, count)
		VPADDD(step, at, at)
		ADDQ(Imm(16), q)
	})
	Store(count, ReturnIndex(0))
	emit.Ret()
}

// nonzeroAVX2 closes up eight codes and their places with a table of permutations.
func nonzeroAVX2() {
	emit.Func("nonzeroAVX2", "func(offs *uint32, codes, q *int8, groups int, first, stride uint32) int",
		"nonzeroAVX2 is nonzeroAVX512 for 8·groups codes, and writes up to eight more.")
	offs, codes, q, groups := emit.Ptr("offs"), emit.Ptr("codes"), emit.Ptr("q"), emit.Ptr("groups")
	table := GLOBL("closeUp", RODATA|NOPTR)
	for zeros := range 256 { // bits of elements to leave out
		order, n := uint64(0), 0
		for i := range 8 {
			if zeros>>i&1 == 0 {
				order |= uint64(i) << (8 * n)
				n++
			}
		}
		DATA(8*zeros, U64(order))
	}
	at, step, zero := YMM(), emit.DwordsParam(YMM(), "stride"), YMM()
	iota := GLOBL("iota8", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(uint32(i)))
	}
	VPMULLD(iota, step, at)
	VPADDD(emit.DwordsParam(YMM(), "first"), at, at)
	VPSLLD(Imm(3), step, step)
	emit.Zero(zero)
	count, orders := GP64(), GP64()
	XORQ(count, count)
	LEAQ(table, orders)
	emit.Loop("group", groups, func() {
		x, is, order, o := XMM(), XMM(), XMM(), YMM()
		VMOVQ(Mem{Base: q}, x)
		VPCMPEQB(zero.AsX(), x, is)
		zeros := GP64()
		VPMOVMSKB(is, zeros.As32())
		MOVBLZX(zeros.As8(), zeros.As32())
		VMOVQ(Mem{Base: orders, Index: zeros, Scale: 8}, order)
		VPSHUFB(order, x, x)
		VMOVQ(x, Mem{Base: codes, Index: count, Scale: 1})
		VPMOVZXBD(order, o)
		VPERMD(at, o, o)
		VMOVDQU(o, Mem{Base: offs, Index: count, Scale: 4})
		XORL(U32(0xff), zeros.As32())
		POPCNTL(zeros.As32(), zeros.As32())
		ADDQ(zeros, count)
		VPADDD(step, at, at)
		ADDQ(Imm(8), q)
	})
	Store(count, ReturnIndex(0))
	emit.Ret()
}

// interleave makes of the same bytes of four columns, a vector each, those of their
// dwords of four bytes, one of each column, that vector z takes.
func interleave(a, b, c, d reg.VecVirtual, z int, vec func() reg.VecVirtual) reg.VecVirtual {
	ab, cd, v := vec(), vec(), vec()
	if z < 2 {
		VPUNPCKLBW(b, a, ab)
		VPUNPCKLBW(d, c, cd)
	} else {
		VPUNPCKHBW(b, a, ab)
		VPUNPCKHBW(d, c, cd)
	}
	if z%2 == 0 {
		VPUNPCKLWD(cd, ab, v)
	} else {
		VPUNPCKHWD(cd, ab, v)
	}
	return v
}

const gemvSig = "func(acc *int32, w *byte, lines int, offs *uint32, codes *int8, quads int, init int32)"

// askFirst asks for the first columns, which nobody else does.
func askFirst(w, lines, offs reg.GPVirtual) {
	l, p := GP64(), GP64()
	MOVQ(lines, l)
	MOVQ(w, p)
	emit.Loop("first_line", l, func() {
		i := GP64()
		MOVQ(U32(ahead), i)
		emit.Loop("first", i, func() {
			o := GP64()
			MOVL(Mem{Base: offs, Index: i, Scale: 4, Disp: -4}, o.As32())
			PREFETCHT1(Mem{Base: p, Index: o, Scale: 1})
		})
		ADDQ(Imm(lineBytes), p)
	})
}

// gemv prefetches into the L2 cache: the L1 cache waits for too few lines at once.
func gemv() {
	emit.Func("gemvColsAVX512", gemvSig,
		"gemvColsAVX512 sets 256·lines sums, which are zero before, to init plus the products",
		fmt.Sprintf("of 4·quads columns at the byte offsets offs, of which %d more may be asked for.", ahead))
	acc, w, lines := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("lines")
	offs, codes, quads := emit.Ptr("offs"), emit.Ptr("codes"), emit.Ptr("quads")
	low, high := emit.Dwords(0x03030303), emit.Dwords(0x0c0c0c0c)

	askFirst(w, lines, offs)
	var s [vecs]reg.VecVirtual // 4z+j; those of odd j hold four times the value
	for i := range s {
		s[i] = ZMM()
	}
	Label("chunk")
	n := GP64() // quads of this chunk
	MOVQ(U32(ahead/4), n)
	CMPQ(quads, n)
	CMOVQLT(quads, n)
	l, sums, p := GP64(), GP64(), GP64()
	MOVQ(lines, l)
	MOVQ(acc, sums)
	MOVQ(w, p)
	Label("line")
	for i := range s {
		VMOVDQU32(Mem{Base: sums, Disp: 64 * i}, s[i])
	}
	o, q, left := GP64(), GP64(), GP64()
	MOVQ(offs, o)
	MOVQ(codes, q)
	MOVQ(n, left)
	Label("quad")
	var c [4]reg.VecVirtual
	for i := range c {
		at := GP64()
		MOVL(Mem{Base: o, Disp: 4 * i}, at.As32())
		c[i] = ZMM()
		VMOVDQU64(Mem{Base: p, Index: at, Scale: 1}, c[i])
		next := GP64()
		MOVL(Mem{Base: o, Disp: 4 * (ahead + i)}, next.As32())
		PREFETCHT1(Mem{Base: p, Index: next, Scale: 1})
	}
	code := ZMM()
	VPBROADCASTD(Mem{Base: q}, code)
	emit.Quads(c, func(z int, v reg.VecVirtual) {
		v4 := ZMM()
		VPSRLW(Imm(4), v, v4)
		for j := range 4 {
			src, mask := v, low
			if j >= 2 {
				src = v4
			}
			if j%2 == 1 {
				mask = high
			}
			t := ZMM()
			VPANDQ(mask, src, t)
			VPDPBUSD(code, t, s[4*z+j])
		}
	})
	ADDQ(Imm(16), o)
	ADDQ(Imm(4), q)
	DECQ(left)
	JNZ(LabelRef("quad"))
	for i := range s {
		VMOVDQU32(s[i], Mem{Base: sums, Disp: 64 * i})
	}
	ADDQ(U32(4*lineRows), sums)
	ADDQ(Imm(lineBytes), p)
	DECQ(l)
	JNZ(LabelRef("line"))
	MOVQ(o, offs)
	MOVQ(q, codes)
	SUBQ(n, quads)
	JNZ(LabelRef("chunk"))

	init := emit.DwordsParam(ZMM(), "init")
	emit.Loop("finish", lines, func() {
		for i := range vecs {
			v := ZMM()
			if i%2 == 0 {
				VPADDD(Mem{Base: acc, Disp: 64 * i}, init, v)
			} else {
				VPSRAD(Imm(2), Mem{Base: acc, Disp: 64 * i}, v)
				VPADDD(init, v, v)
			}
			VMOVDQU32(v, Mem{Base: acc, Disp: 64 * i})
		}
		ADDQ(U32(4*lineRows), acc)
	})
	emit.Ret()
}

// gemvAVX2 takes half a line at a time, 128 rows, whose sums for pairs of columns
// fit in eight registers of 16-bit lanes. As in gemvTernaryAVX2, bits 2,3 and 6,7
// accumulate at four times their value: 16 pairs put at least -32768 and at most
// 16·2·8·127 = 32512 into a lane. Then sums go to memory, those of even and of odd
// rows apart, until the end.
//
// There are too few instructions in flight to wait for the L2 cache as well: while
// the second halves are multiplied, the next lines go from there to the L1 cache.
func gemvAVX2() {
	const pairs = 16
	emit.Func("gemvColsAVX2", gemvSig, "gemvColsAVX2 is gemvColsAVX512 without VNNI.")
	w, offs, codes, quads := emit.Ptr("w"), emit.Ptr("offs"), emit.Ptr("codes"), emit.Ptr("quads")
	low, high, even := emit.DwordsOf(YMM(), 0x03030303), emit.DwordsOf(YMM(), 0x0c0c0c0c), emit.DwordsOf(YMM(), 1)
	askFirst(w, emit.Ptr("lines"), offs)
	twice := AllocLocal(2 * ahead) // the codes of a chunk, each pair twice

	var s [8]reg.VecVirtual // 4·(z/2) + j: of rows 16j to 16j+15 of z and z+1
	for i := range s {
		s[i] = YMM()
	}
	Label("chunk")
	n := GP64() // quads of this chunk
	MOVQ(U32(ahead/4), n)
	CMPQ(quads, n)
	CMOVQLT(quads, n)
	for i := range ahead / 16 {
		VPMOVZXWD(Mem{Base: codes, Disp: 16 * i}, s[0])
		VPSLLD(Imm(16), s[0], s[1])
		VPOR(s[1], s[0], s[0])
		VMOVDQU(s[0], twice.Offset(32*i))
	}
	l, sums, p := emit.Ptr("lines"), emit.Ptr("acc"), GP64()
	MOVQ(w, p)
	o := GP64()
	Label("line")
	for half := range 2 {
		name := fmt.Sprintf("half%d", half)
		q, left, some, then := GP64(), GP64(), GP64(), GP64()
		MOVQ(offs, o)
		LEAQ(twice, q)
		MOVQ(n, left)
		if half == 1 {
			LEAQ(Mem{Base: p, Disp: lineBytes}, then)
			CMPQ(l, Imm(1))
			CMOVQEQ(p, then)
		}
		Label(name)
		MOVQ(U32(pairs/2), some)
		CMPQ(left, some)
		CMOVQLT(left, some)
		SUBQ(some, left)
		for _, v := range s {
			emit.Zero(v)
		}
		Label(name + "_quad")
		for pair := range 2 {
			addPair(s, low, high, func(i int) Mem {
				at := GP64()
				if i += 2 * pair; half == 0 {
					MOVL(Mem{Base: o, Disp: 4 * (ahead + i)}, at.As32())
					PREFETCHT1(Mem{Base: p, Index: at, Scale: 1})
				}
				MOVL(Mem{Base: o, Disp: 4 * i}, at.As32())
				if half == 1 {
					PREFETCHT0(Mem{Base: then, Index: at, Scale: 1})
				}
				return Mem{Base: p, Index: at, Scale: 1, Disp: 32 * half}
			}, Mem{Base: q, Disp: 4 * pair})
		}
		ADDQ(Imm(16), o)
		ADDQ(Imm(8), q)
		DECQ(some)
		JNZ(LabelRef(name + "_quad"))
		for i, v := range s {
			t := YMM()
			VPMADDWD(even, v, t)
			VPSRAD(Imm(16), v, v)
			for odd, v := range []reg.VecVirtual{t, v} {
				at := slot(sums, i, odd, half)
				VPADDD(at, v, v)
				VMOVDQU(v, at)
			}
		}
		TESTQ(left, left)
		JNZ(LabelRef(name))
	}
	ADDQ(U32(4*lineRows), sums)
	ADDQ(Imm(lineBytes), p)
	DECQ(l)
	JNZ(LabelRef("line"))
	MOVQ(o, offs)
	ADDQ(Imm(ahead), codes)
	SUBQ(n, quads)
	JNZ(LabelRef("chunk"))

	init, acc := emit.DwordsParam(YMM(), "init"), emit.Ptr("acc")
	emit.Loop("finish", emit.Ptr("lines"), func() {
		for i := range s {
			for half := range 2 {
				e, o, t := YMM(), YMM(), YMM()
				VMOVDQU(slot(acc, i, 0, half), e)
				VMOVDQU(slot(acc, i, 1, half), o)
				VPUNPCKLDQ(o, e, t)
				VPUNPCKHDQ(o, e, e)
				for more, v := range []reg.VecVirtual{t, e} {
					if i%2 == 1 {
						VPSRAD(Imm(2), v, v)
					}
					VPADDD(init, v, v)
					VMOVDQU(v, slot(acc, i, more, half))
				}
			}
		}
		ADDQ(U32(4*lineRows), acc)
	})
	emit.Ret()
}

// slot is where eight sums of register i of gemvAVX2 lie: those of rows 16j + 8·half
// and following of z or, with more, of z+1. On the way it holds even or odd rows.
func slot(sums reg.Register, i, more, half int) Mem {
	z, j := i/4*2+more, i%4
	return Mem{Base: sums, Disp: 4 * (16*(4*z+j) + 8*half)}
}

// addPair adds the products of half a line of two columns with two codes, given twice.
func addPair(s [8]reg.VecVirtual, low, high reg.VecVirtual, column func(i int) Mem, codes Mem) {
	a, b, first, code := YMM(), YMM(), YMM(), YMM()
	VMOVDQU(column(0), a)
	VMOVDQU(column(1), b)
	VPBROADCASTD(codes, code)
	VPUNPCKLBW(b, a, first)
	VPUNPCKHBW(b, a, a)
	for i, v := range []reg.VecVirtual{first, a} {
		for j := range 4 {
			mask, t := low, YMM()
			if j%2 == 1 {
				mask = high
			}
			if j == 2 {
				VPSRLW(Imm(4), v, v)
			}
			VPAND(mask, v, t)
			VPMADDUBSW(code, t, t)
			VPADDW(t, s[4*i+j], s[4*i+j])
		}
	}
}

// unpack takes a line of columns at a time, in as many vectors as that needs.
func unpack(isa string, vec func() reg.VecVirtual, z int) {
	name, size := fmt.Sprintf("unpackCols%sz%d", isa, z), int(vec().Size())
	emit.Func(name, "func(dst *byte, ldd int, src *byte, stride, quads int)",
		fmt.Sprintf("%s writes rows %d to %d of a line of 4·quads columns, stride bytes apart,", name, 64*z, 64*z+63),
		"a byte a weight, as four panels, ldd bytes apart, for the tiles.")
	dst, ldd, src, stride, quads := emit.Ptr("dst"), emit.Ptr("ldd"), emit.Ptr("src"), emit.Ptr("stride"), emit.Ptr("quads")
	low := emit.DwordsOf(vec(), 0x03030303)
	out := emit.NewRows(dst, ldd, 4)
	in := emit.NewRows(src, stride, 4)
	far, step := GP64(), GP64() // eight quads ahead
	MOVQ(stride, far)
	SHLQ(Imm(5), far)
	MOVQ(stride, step)
	SHLQ(Imm(2), step)
	ADDQ(src, far)
	ask := emit.NewRows(far, stride, 3)
	last := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, last)
	emit.Loop("quad", quads, func() {
		for part := 0; part < lineBytes; part += size {
			var c [4]reg.VecVirtual
			for i := range c {
				c[i] = vec()
				emit.LoadVec(in.At(i, part), c[i])
				if part > 0 {
					continue
				}
				if i < 3 {
					PREFETCHT0(ask.At(i, 0))
				} else {
					PREFETCHT0(Mem{Base: far, Index: last, Scale: 1})
				}
			}
			v := interleave(c[0], c[1], c[2], c[3], z, vec)
			for j := range 4 {
				t := v
				if j < 3 {
					t = vec()
				}
				if j > 0 {
					VPSRLW(Imm(uint64(2*j)), v, t)
					emit.And(low, t, t)
				} else {
					emit.And(low, v, t)
				}
				emit.StoreVec(t, out.At(j, part))
			}
		}
		in.AdvanceBy(step)
		ADDQ(step, far)
		out.Advance(64)
	})
	emit.Ret()
}
