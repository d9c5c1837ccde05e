// Command rows generates the kernels on the i2r256 layout.
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
	lineCols  = 256
	group     = 4 // rows that share loads of activations
	// ahead is how many rows are asked for before they are used, and how many go past
	// a line of activations while that is in registers: asm.rowsAhead.
	ahead     = 64
	panelRows = 16
)

func main() {
	emit.Begin()
	gemv("AVX512", ZMM, false, gemv512)
	gemv("AVX2", YMM, true, gemv256)
	unpack()
	unpackAVX2()
	Generate()
}

// gemv prefetches into the L2 cache: the L1 cache waits for too few lines at once.
// It takes a line of many rows, then their next lines, and asks for lines to come in
// that order: from walks along a row the processor would guess lines beyond its end.
//
// With near, a row's next line goes from there to the L1 cache while this one is
// multiplied: where a line takes many instructions, too few of them are in flight to
// wait for the L2 cache as well. On a Zen 4 it saves an eighth of the time on AVX2 and
// nothing on AVX-512.
//
// kernel loads constants and returns what loads a line of activations and what adds
// the products of a line of a row to a vector of sums in memory.
func gemv(isa string, vec func() reg.VecVirtual, near bool, kernel func() (load func(q reg.Register), step func(row func(offset int) Mem, sum Mem))) {
	name, size := "gemvRows"+isa, int(vec().Size())
	emit.Func(name, "func(acc *int32, w *byte, offs *uint32, quads int, q *int8, lines int, init int32, sums *int32)",
		name+" writes 4·quads sums: init plus the products of q and the rows at the",
		fmt.Sprintf("byte offsets offs, of which %d more may be asked for. sums has room for %d·%d.", ahead, size/4, ahead))
	acc, offs, quads, sums := emit.Ptr("acc"), emit.Ptr("offs"), emit.Ptr("quads"), emit.Ptr("sums")
	load, step := kernel()

	{ // The first rows have nobody to ask for them.
		lines, p := emit.Ptr("lines"), emit.Ptr("w")
		emit.Loop("first_line", lines, func() {
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

	TESTQ(quads, quads)
	JZ(LabelRef("end"))
	Label("chunk")
	n := GP64() // quads of this chunk
	MOVQ(U32(ahead/group), n)
	CMPQ(quads, n)
	CMOVQLT(quads, n)
	{
		zero, i, p := vec(), GP64(), GP64()
		emit.Zero(zero)
		MOVQ(n, i)
		MOVQ(sums, p)
		emit.Loop("clear", i, func() {
			for r := range group {
				emit.StoreVec(zero, Mem{Base: p, Disp: size * r})
			}
			ADDQ(U32(uint32(size*group)), p)
		})
	}
	at, x, lines := emit.Ptr("w"), emit.Ptr("q"), emit.Ptr("lines")
	Label("line")
	load(x)
	then := GP64()
	if near {
		LEAQ(Mem{Base: at, Disp: lineBytes}, then)
		CMPQ(lines, Imm(1))
		CMOVQEQ(at, then) // what follows the last line is another row
	}
	o, s, left := GP64(), GP64(), GP64()
	MOVQ(offs, o)
	MOVQ(sums, s)
	MOVQ(n, left)
	Label("quad")
	for r := range group {
		row, next := GP64(), GP64()
		MOVL(Mem{Base: o, Disp: 4 * r}, row.As32())
		MOVL(Mem{Base: o, Disp: 4 * (ahead + r)}, next.As32())
		PREFETCHT1(Mem{Base: at, Index: next, Scale: 1})
		if near {
			PREFETCHT0(Mem{Base: then, Index: row, Scale: 1})
		}
		step(func(offset int) Mem { return Mem{Base: at, Index: row, Scale: 1, Disp: offset} }, Mem{Base: s, Disp: size * r})
	}
	ADDQ(Imm(4*group), o)
	ADDQ(U32(uint32(size*group)), s)
	DECQ(left)
	JNZ(LabelRef("quad"))
	ADDQ(Imm(lineBytes), at)
	ADDQ(U32(lineCols), x)
	DECQ(lines)
	JNZ(LabelRef("line"))
	MOVQ(o, offs)

	SUBQ(n, quads)
	p := GP64()
	MOVQ(sums, p)
	emit.Loop("finish", n, func() {
		var v [group]reg.VecVirtual
		for r := range v {
			v[r] = vec()
			emit.LoadVec(Mem{Base: p, Disp: size * r}, v[r])
		}
		// Four vectors become one of their sums: within lanes, then across them.
		merge := func(a, b reg.VecVirtual, interleave, rest func(...Op)) {
			t := vec()
			rest(b, a, t)
			interleave(b, a, a)
			VPADDD(t, a, a)
		}
		dl, dh := func(o ...Op) { VPUNPCKLDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHDQ(o[0], o[1], o[2]) }
		ql, qh := func(o ...Op) { VPUNPCKLQDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHQDQ(o[0], o[1], o[2]) }
		merge(v[0], v[1], dl, dh)
		merge(v[2], v[3], dl, dh)
		merge(v[0], v[2], ql, qh)
		sum, y, z := v[0], YMM(), XMM()
		if size == 64 {
			VEXTRACTI64X4(Imm(1), sum, y)
			VPADDD(y, sum.AsY(), y)
		} else {
			y = sum
		}
		VEXTRACTI128(Imm(1), y, z)
		VPADDD(z, y.AsX(), z)
		VMOVD(Load(Param("init"), GP32()), y.AsX())
		VPBROADCASTD(y.AsX(), y.AsX())
		VPADDD(z, y.AsX(), z)
		VMOVDQU(z, Mem{Base: acc})
		ADDQ(Imm(4*group), acc)
		ADDQ(U32(uint32(size*group)), p)
	})
	TESTQ(quads, quads)
	JNZ(LabelRef("chunk"))
	Label("end")
	emit.Ret()
}

func gemv512() (func(reg.Register), func(func(int) Mem, Mem)) {
	low := emit.Dwords(0x03030303)
	var xv [4]reg.VecVirtual
	load := func(x reg.Register) {
		for j := range xv {
			xv[j] = ZMM()
			VMOVDQU64(Mem{Base: x, Disp: 64 * j}, xv[j])
		}
	}
	return load, func(row func(int) Mem, s Mem) {
		v, sum := ZMM(), ZMM()
		VMOVDQU64(row(0), v)
		VMOVDQU64(s, sum)
		emit.Crumbs(low, v, func(j int, t reg.VecVirtual) {
			VPDPBUSD(xv[j], t, sum)
		})
		VMOVDQU64(sum, s)
	}
}

// gemv256 leaves bits 2,3 and 6,7 at four times their value, in sums of their own,
// which saves two of three shifts. A line adds four pairs of products to a 16-bit
// lane: 4·2·8·128 at most.
func gemv256() (func(reg.Register), func(func(int) Mem, Mem)) {
	low, high, ones := emit.DwordsOf(YMM(), 0x03030303), emit.DwordsOf(YMM(), 0x0c0c0c0c), emit.WordsY1()
	var xv [8]reg.VecVirtual // 32 columns each
	load := func(x reg.Register) {
		for i := range xv {
			xv[i] = YMM()
			VMOVDQU(Mem{Base: x, Disp: 32 * i}, xv[i])
		}
	}
	return load, func(row func(int) Mem, s Mem) {
		one, four := YMM(), YMM()
		for half := range 2 {
			v := YMM()
			VMOVDQU(row(32*half), v)
			for j := range 4 {
				mask, sum := low, one
				if j%2 == 1 {
					mask, sum = high, four
				}
				if j == 2 {
					VPSRLW(Imm(4), v, v)
				}
				if half == 0 && j < 2 { // the first product is the sum
					VPAND(mask, v, sum)
					VPMADDUBSW(xv[2*j], sum, sum)
					continue
				}
				t := YMM()
				VPAND(mask, v, t)
				VPMADDUBSW(xv[2*j+half], t, t)
				VPADDW(t, sum, sum)
			}
		}
		VPSRAW(Imm(2), four, four)
		VPADDW(four, one, one)
		VPMADDWD(ones, one, one)
		VPADDD(s, one, one)
		VMOVDQU(one, s)
	}
}

// unpack turns rows into lanes: it transposes 16 × 16 words of four bytes, each
// with four times four columns, and spreads their bits.
func unpack() {
	emit.Func("unpackRowsAVX512", "func(dst, src *byte, stride, lines int)",
		"unpackRowsAVX512 writes 16 rows of lines lines, stride bytes apart, a byte a weight,",
		"as one panel for the tiles.")
	dst, src, stride := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("stride")
	low := emit.Dwords(0x03030303)
	in := emit.NewRows(src, stride, 12)
	rest := GP64() // rows 12 to 15
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, rest)
	SHLQ(Imm(2), rest)
	ADDQ(src, rest)
	more := emit.NewRows(rest, stride, 4)
	emit.Loop("line", emit.Ptr("lines"), func() {
		var v [panelRows]reg.VecVirtual
		for i := range v {
			v[i] = ZMM()
			rows, r := in, i
			if i >= 12 {
				rows, r = more, i-12
			}
			VMOVDQU64(rows.At(r, 0), v[i])
			PREFETCHT0(rows.At(r, 4*lineBytes))
		}
		// pair sets a and b to low and high halves of them, interleaved.
		pair := func(a, b *reg.VecVirtual, l, h func(...Op)) {
			t := ZMM()
			h(*b, *a, t)
			l(*b, *a, *a)
			*b = t
		}
		for i := 0; i < panelRows; i += 2 {
			pair(&v[i], &v[i+1], func(o ...Op) { VPUNPCKLDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHDQ(o[0], o[1], o[2]) })
		}
		for g := 0; g < panelRows; g += 4 {
			for i := range 2 {
				pair(&v[g+i], &v[g+2+i], func(o ...Op) { VPUNPCKLQDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHQDQ(o[0], o[1], o[2]) })
			}
			// Word 4·lane + c of rows g to g+3 is in lane lane of vector c.
			v[g+1], v[g+2] = v[g+2], v[g+1]
		}
		lanes := func(imm uint64) func(...Op) {
			return func(o ...Op) { VSHUFI32X4(Imm(imm), o[0], o[1], o[2]) }
		}
		for c := range 4 {
			a, b, e, f := &v[c], &v[4+c], &v[8+c], &v[12+c]
			pair(a, b, lanes(0x88), lanes(0xdd)) // even lanes of both, odd lanes
			pair(e, f, lanes(0x88), lanes(0xdd))
			pair(a, e, lanes(0x88), lanes(0xdd)) // lanes 0, lanes 2
			pair(b, f, lanes(0x88), lanes(0xdd)) // lanes 1, lanes 3
			for lane, word := range []*reg.VecVirtual{a, b, e, f} {
				emit.Crumbs(low, *word, func(j int, t reg.VecVirtual) {
					VMOVDQU64(t, Mem{Base: dst, Disp: 64 * (16*j + 4*lane + c)})
				})
			}
		}
		in.Advance(lineBytes)
		more.Advance(lineBytes)
		ADDQ(U32(panelRows*lineCols), dst)
	})
	emit.Ret()
}

// unpackAVX2 does the same for eight rows at a time, and half lines of eight words.
func unpackAVX2() {
	emit.Func("unpackRowsAVX2", "func(dst, src *byte, stride, lines int)",
		"unpackRowsAVX2 is unpackRowsAVX512 with half lines of eight rows to transpose.")
	dst, src, stride := emit.Ptr("dst"), emit.Ptr("src"), emit.Ptr("stride")
	low := emit.DwordsOf(YMM(), 0x03030303)
	in := emit.NewRows(src, stride, 8)
	rest := GP64()
	LEAQ(Mem{Base: src, Index: stride, Scale: 8}, rest)
	more := emit.NewRows(rest, stride, 8)
	emit.Loop("line", emit.Ptr("lines"), func() {
		for g, rows := range []emit.Rows{in, more} {
			for half := range 2 {
				var v [8]reg.VecVirtual
				for i := range v {
					v[i] = YMM()
					VMOVDQU(rows.At(i, 32*half), v[i])
					if half == 0 {
						PREFETCHT0(rows.At(i, 4*lineBytes))
					}
				}
				transpose8(&v)
				for c, word := range v {
					emit.Crumbs(low, word, func(j int, t reg.VecVirtual) {
						VMOVDQU(t, Mem{Base: dst, Disp: 64*(16*j+8*half+c) + 32*g})
					})
				}
			}
		}
		in.Advance(lineBytes)
		more.Advance(lineBytes)
		ADDQ(U32(panelRows*lineCols), dst)
	})
	emit.Ret()
}

// transpose8 transposes 8 × 8 words of four bytes.
func transpose8(v *[8]reg.VecVirtual) {
	pair := func(a, b *reg.VecVirtual, l, h func(...Op)) {
		t := YMM()
		h(*b, *a, t)
		l(*b, *a, *a)
		*b = t
	}
	for i := 0; i < 8; i += 2 {
		pair(&v[i], &v[i+1], func(o ...Op) { VPUNPCKLDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHDQ(o[0], o[1], o[2]) })
	}
	for g := 0; g < 8; g += 4 {
		for i := range 2 {
			pair(&v[g+i], &v[g+2+i], func(o ...Op) { VPUNPCKLQDQ(o[0], o[1], o[2]) }, func(o ...Op) { VPUNPCKHQDQ(o[0], o[1], o[2]) })
		}
		// Word 4·lane + c of rows g to g+3 is in lane lane of vector c.
		v[g+1], v[g+2] = v[g+2], v[g+1]
	}
	for c := range 4 {
		pair(&v[c], &v[4+c], func(o ...Op) { VPERM2I128(Imm(0x20), o[0], o[1], o[2]) }, func(o ...Op) { VPERM2I128(Imm(0x31), o[0], o[1], o[2]) })
	}
}
