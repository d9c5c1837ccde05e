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
	gemv()
	unpack()
	Generate()
}

// gemv prefetches into the L2 cache: the L1 cache waits for too few lines at once.
// It takes a line of many rows, then their next lines, and asks for lines to come in
// that order: from walks along a row the processor would guess lines beyond its end.
func gemv() {
	emit.Func("gemvRowsAVX512", "func(acc *int32, w *byte, offs *uint32, quads int, q *int8, lines int, init int32, sums *int32)",
		"gemvRowsAVX512 writes 4·quads sums: init plus the products of q and the rows at the",
		fmt.Sprintf("byte offsets offs, of which %d more may be asked for. sums has room for 16·%d.", ahead, ahead))
	acc, w, offs, quads, q := emit.Ptr("acc"), emit.Ptr("w"), emit.Ptr("offs"), emit.Ptr("quads"), emit.Ptr("q")
	sums := emit.Ptr("sums")
	low := emit.Dwords(0x03030303)

	{ // The first rows have nobody to ask for them.
		lines, p := GP64(), GP64()
		Load(Param("lines"), lines)
		MOVQ(w, p)
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
		zero, i, p := ZMM(), GP64(), GP64()
		VPXORQ(zero, zero, zero)
		MOVQ(n, i)
		MOVQ(sums, p)
		emit.Loop("clear", i, func() {
			for r := range group {
				VMOVDQU64(zero, Mem{Base: p, Disp: 64 * r})
			}
			ADDQ(U32(64*group), p)
		})
	}
	at, x, lines := GP64(), GP64(), GP64()
	MOVQ(w, at)
	MOVQ(q, x)
	Load(Param("lines"), lines)
	Label("line")
	var xv [4]reg.VecVirtual
	for j := range xv {
		xv[j] = ZMM()
		VMOVDQU64(Mem{Base: x, Disp: 64 * j}, xv[j])
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
		v, sum := ZMM(), ZMM()
		VMOVDQU64(Mem{Base: at, Index: row, Scale: 1}, v)
		PREFETCHT1(Mem{Base: at, Index: next, Scale: 1})
		VMOVDQU64(Mem{Base: s, Disp: 64 * r}, sum)
		for j := range xv {
			t := ZMM()
			if j == 0 {
				VPANDQ(low, v, t)
			} else {
				VPSRLW(Imm(uint64(2*j)), v, t)
				VPANDQ(low, t, t)
			}
			VPDPBUSD(xv[j], t, sum)
		}
		VMOVDQU64(sum, Mem{Base: s, Disp: 64 * r})
	}
	ADDQ(Imm(4*group), o)
	ADDQ(U32(64*group), s)
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
			v[r] = ZMM()
			VMOVDQU64(Mem{Base: p, Disp: 64 * r}, v[r])
		}
		// Four vectors become one of their sums: within lanes, then across them.
		merge := func(a, b reg.VecVirtual, interleave, rest func(...Op)) {
			t := ZMM()
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
		VEXTRACTI64X4(Imm(1), sum, y)
		VPADDD(y, sum.AsY(), y)
		VEXTRACTI32X4(Imm(1), y, z)
		VPADDD(z, y.AsX(), z)
		VMOVD(Load(Param("init"), GP32()), y.AsX())
		VPBROADCASTD(y.AsX(), y.AsX())
		VPADDD(z, y.AsX(), z)
		VMOVDQU32(z, Mem{Base: acc})
		ADDQ(Imm(4*group), acc)
		ADDQ(U32(64*group), p)
	})
	TESTQ(quads, quads)
	JNZ(LabelRef("chunk"))
	Label("end")
	emit.Ret()
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
				for j := range 4 {
					t := ZMM()
					if j == 0 {
						VPANDQ(low, *word, t)
					} else {
						VPSRLW(Imm(uint64(2*j)), *word, t)
						VPANDQ(low, t, t)
					}
					VMOVDQU64(t, Mem{Base: dst, Disp: 64 * (16*j + 4*lane + c)})
				}
			}
		}
		in.Advance(lineBytes)
		more.Advance(lineBytes)
		ADDQ(U32(panelRows*lineCols), dst)
	})
	emit.Ret()
}
