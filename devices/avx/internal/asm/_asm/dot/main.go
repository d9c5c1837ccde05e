// Command dot generates products of rows of weights with float32 or int8
// vectors, in one reduction order for every tile shape.
package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

// kind says how eight weights become a vector of float32.
type kind struct {
	name string
	size int
	load func(m Mem, v reg.VecVirtual)
}

var kinds = []kind{
	{"F32", 4, func(m Mem, v reg.VecVirtual) { VMOVUPS(m, v) }},
	{"BF16", 2, func(m Mem, v reg.VecVirtual) {
		VPMOVZXWD(m, v)
		VPSLLD(Imm(16), v, v)
	}},
	{"F16", 2, func(m Mem, v reg.VecVirtual) { VCVTPH2PS(m, v) }},
}

func main() {
	emit.Begin()
	for _, k := range kinds {
		for _, tile := range [][2]int{{8, 1}, {1, 1}, {4, 2}, {4, 3}} {
			floats(k, tile[0], tile[1])
		}
		accumulate(k)
	}
	for _, rows := range []int{8, 4, 1} {
		i8(rows, 1)
	}
	i8(4, 2)
	for _, rows := range []int{8, 4, 1} {
		i8VNNI(rows, 1)
	}
	i8VNNI(4, 4)
	Generate()
}

// fold leaves (s0+s4)+(s2+s6) + (s1+s5)+(s3+s7) of each of four vectors in one.
func fold(a [4]reg.VecVirtual, add func(...Op)) reg.VecVirtual {
	var half [4]reg.VecVirtual
	for i, v := range a {
		half[i] = XMM()
		VEXTRACTF128(Imm(1), v, half[i])
		add(half[i], v.AsX(), half[i])
	}
	var pair [2]reg.VecVirtual // sums 0,2 of two rows, then sums 1,3 of them
	for i := range pair {
		lo, hi := XMM(), XMM()
		VUNPCKLPS(half[2*i+1], half[2*i], lo)
		VUNPCKHPS(half[2*i+1], half[2*i], hi)
		add(hi, lo, lo)
		pair[i] = lo
	}
	even, odd := XMM(), XMM()
	VUNPCKLPD(pair[1], pair[0], even)
	VUNPCKHPD(pair[1], pair[0], odd)
	add(odd, even, even)
	return even
}

// foldOne is fold of a single vector.
func foldOne(v reg.VecVirtual, add func(...Op)) reg.VecVirtual {
	half, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), v, half)
	add(half, v.AsX(), half)
	VPSHUFD(Imm(0x4e), half, t)
	add(t, half, half)
	VPSHUFD(Imm(0xb1), half, t)
	add(t, half, half)
	return half
}

func zeroed(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = YMM()
		VXORPS(v[i], v[i], v[i])
	}
	return v
}

// nextTile addresses the rows that follow a group of eight, which are needed
// when these are done.
func nextTile(w, ldw reg.GPVirtual, rows int) emit.Rows {
	first, skip := GP64(), GP64()
	MOVQ(ldw, skip)
	SHLQ(Imm(3), skip)
	LEAQ(Mem{Base: w, Index: skip, Scale: 1}, first)
	return emit.NewRows(first, ldw, rows)
}

func log2(n int) int { return bits.Len(uint(n)) - 1 }

// copyOf leaves the original alone.
func copyOf(r reg.GPVirtual) reg.GPVirtual {
	c := GP64()
	MOVQ(r, c)
	return c
}

func vaddps(ops ...Op) { VADDPS(ops...) }
func vpaddd(ops ...Op) { VPADDD(ops[0], ops[1], ops[2]) }

// floats is a kernel of some rows by some tokens, one tile of rows after the
// other: 8 by 1 has as many independent sums as hide the latency, 4 by 3 takes
// 12 registers for sums, three for tokens and one for weights.
func floats(k kind, rows, tokens int) {
	name := fmt.Sprintf("dot%sx%dx%dAVX2", k.name, rows, tokens)
	emit.Func(name, "func(y *float32, ldy int, w *byte, ldw int, x *float32, ldx, n, tiles int, wtail *byte, xtail *float32)",
		fmt.Sprintf("%s writes, for each of %d tokens, %d sums a tile over n vectors of 8, and one", name, tokens, rows),
		"more from the tails if wtail is not nil. Strides are in bytes.")
	w, ldw, y, tiles := emit.Ptr("w"), emit.Ptr("ldw"), emit.Ptr("y"), emit.Ptr("tiles")
	wt := emit.Ptr("wtail")
	emit.Loop("tile", tiles, func() {
		acc := zeroed(rows * tokens)
		step := func(w func(r int) Mem, x func(t int) Mem) {
			xv := make([]reg.VecVirtual, tokens)
			for t := range xv {
				xv[t] = YMM()
				VMOVUPS(x(t), xv[t])
			}
			for r := range rows {
				if k.size == 4 && tokens == 1 {
					VFMADD231PS(w(r), xv[0], acc[r])
					continue
				}
				wv := YMM()
				k.load(w(r), wv)
				for t := range xv {
					VFMADD231PS(wv, xv[t], acc[t*rows+r])
				}
			}
		}
		in := emit.NewRows(copyOf(w), ldw, rows)
		x := emit.Ptr("x")
		xs := emit.Rows{}
		if tokens > 1 {
			xs = emit.NewRows(x, emit.Ptr("ldx"), tokens)
		} else {
			xs = emit.NewRows(x, ldw, 1)
		}
		// A cache line a row at a time, with the same line of the next rows
		// asked for.
		perLine := 64 / (8 * k.size)
		var ahead emit.Rows
		if rows > 1 {
			ahead = nextTile(w, ldw, rows)
		}
		left := emit.Ptr("n")
		SHRQ(Imm(uint64(log2(perLine))), left)
		emit.Loop("line", left, func() {
			for i := range perLine {
				step(func(r int) Mem { return in.At(r, i*8*k.size) }, func(t int) Mem { return xs.At(t, 32*i) })
			}
			if rows > 1 {
				for r := range rows {
					PREFETCHT1(ahead.At(r, 0))
				}
				ahead.Advance(64)
			}
			in.Advance(64)
			xs.Advance(32 * perLine)
		})
		Load(Param("n"), left)
		ANDQ(Imm(uint64(perLine-1)), left)
		emit.Loop("vector", left, func() {
			step(func(r int) Mem { return in.At(r, 0) }, func(t int) Mem { return xs.At(t, 0) })
			in.Advance(8 * k.size)
			xs.Advance(32)
		})
		TESTQ(wt, wt)
		JZ(LabelRef("whole"))
		xt := emit.Ptr("xtail")
		step(func(r int) Mem { return Mem{Base: wt, Disp: r * 8 * k.size} }, func(t int) Mem { return Mem{Base: xt, Disp: 32 * t} })
		ADDQ(U32(uint32(rows*8*k.size)), wt)
		Label("whole")
		out := emit.NewRows(y, ldw, 1)
		if tokens > 1 {
			out = emit.NewRows(y, emit.Ptr("ldy"), tokens)
		}
		for t := range tokens {
			if rows == 1 {
				VMOVSS(foldOne(acc[0], vaddps), out.At(t, 0))
			}
			for r := 0; r+4 <= rows; r += 4 {
				VMOVUPS(fold([4]reg.VecVirtual(acc[t*rows+r:]), vaddps), out.At(t, 4*r))
			}
		}
		ADDQ(Imm(uint64(4*rows)), y)
		for skip := rows; skip > 0; {
			by := min(skip, 8)
			LEAQ(Mem{Base: w, Index: ldw, Scale: uint8(by)}, w)
			skip -= by
		}
	})
	emit.Ret()
}

// accumulate adds rows of values times broadcast factors.
func accumulate(k kind) {
	name := "accum" + k.name + "AVX2"
	emit.Func(name, "func(dst, p *float32, v *byte, ldv, rows, n int)",
		name+" adds Σ p[j]·v[j] to n vectors of 8. ldv is in bytes.")
	dst, p0, v0 := emit.Ptr("dst"), emit.Ptr("p"), emit.Ptr("v")
	ldv, rows, n := emit.Ptr("ldv"), emit.Ptr("rows"), emit.Ptr("n")
	columns := func(label string, width int) {
		p, v, left := GP64(), GP64(), GP64()
		MOVQ(p0, p)
		MOVQ(v0, v)
		MOVQ(rows, left)
		acc := make([]reg.VecVirtual, width)
		for i := range acc {
			acc[i] = YMM()
			VMOVUPS(Mem{Base: dst, Disp: 32 * i}, acc[i])
		}
		emit.Loop(label+"row", left, func() {
			b := YMM()
			VBROADCASTSS(Mem{Base: p}, b)
			for i := range acc {
				m := Mem{Base: v, Disp: 8 * k.size * i}
				if k.size == 4 {
					VFMADD231PS(m, b, acc[i])
					continue
				}
				t := YMM()
				k.load(m, t)
				VFMADD231PS(t, b, acc[i])
			}
			ADDQ(Imm(4), p)
			ADDQ(ldv, v)
		})
		for i := range acc {
			VMOVUPS(acc[i], Mem{Base: dst, Disp: 32 * i})
		}
		ADDQ(U32(uint32(32*width)), dst)
		ADDQ(U32(uint32(8*k.size*width)), v0)
	}
	many := GP64()
	MOVQ(n, many)
	SHRQ(Imm(3), many)
	ANDQ(Imm(7), n)
	emit.Loop("eight", many, func() { columns("eight", 8) })
	emit.Loop("single", n, func() { columns("single", 1) })
	emit.Ret()
}

// i8 widens to int16, so that no product saturates whatever the bytes are.
func i8(rows, tokens int) {
	name := fmt.Sprintf("dotI8x%dAVX2", rows)
	sig := "func(y *int32, w *int8, ldw int, x *int8, n int, wtail, xtail *int8)"
	if tokens > 1 {
		name = fmt.Sprintf("dotI8x%dx%dAVX2", rows, tokens)
		sig = "func(y *int32, ldy int, w *int8, ldw int, x *int8, ldx, n int, wtail, xtail *int8)"
	}
	emit.Func(name, sig, fmt.Sprintf("%s writes %d sums for %d tokens over n groups of 16, and one more from", name, rows, tokens),
		"the tails if wtail is not nil.")
	w, ldw, x, n := emit.Ptr("w"), emit.Ptr("ldw"), emit.Ptr("x"), emit.Ptr("n")
	in := emit.NewRows(w, ldw, rows)
	xs := emit.NewRows(x, ldw, 1)
	if tokens > 1 {
		xs = emit.NewRows(x, emit.Ptr("ldx"), tokens)
	}
	acc := zeroed(rows * tokens)
	step := func(w func(r int) Mem, x func(t int) Mem) {
		xv := make([]reg.VecVirtual, tokens)
		for t := range xv {
			xv[t] = YMM()
			VPMOVSXBW(x(t), xv[t])
		}
		for r := range rows {
			wv := YMM()
			VPMOVSXBW(w(r), wv)
			for t := range xv {
				p := YMM()
				VPMADDWD(wv, xv[t], p)
				VPADDD(p, acc[t*rows+r], acc[t*rows+r])
			}
		}
	}
	next := func(bytes int) {
		in.Advance(bytes)
		xs.Advance(bytes)
	}
	if rows == 8 || tokens > 1 {
		lines := GP64()
		ahead := nextTile(w, ldw, rows)
		MOVQ(n, lines)
		SHRQ(Imm(2), lines)
		ANDQ(Imm(3), n)
		emit.Loop("line", lines, func() {
			for i := range 4 {
				step(func(r int) Mem { return in.At(r, 16*i) }, func(t int) Mem { return xs.At(t, 16*i) })
			}
			for r := range rows {
				PREFETCHT1(ahead.At(r, 0))
			}
			ahead.Advance(64)
			next(64)
		})
	}
	emit.Loop("group", n, func() {
		step(func(r int) Mem { return in.At(r, 0) }, func(t int) Mem { return xs.At(t, 0) })
		next(16)
	})
	wt, xt := emit.Ptr("wtail"), emit.Ptr("xtail")
	TESTQ(wt, wt)
	JZ(LabelRef("done"))
	step(func(r int) Mem { return Mem{Base: wt, Disp: 16 * r} }, func(t int) Mem { return Mem{Base: xt, Disp: 16 * t} })
	Label("done")
	y := emit.Ptr("y")
	out := emit.NewRows(y, ldw, 1)
	if tokens > 1 {
		out = emit.NewRows(y, emit.Ptr("ldy"), tokens)
	}
	for t := range tokens {
		if rows == 1 {
			VMOVD(foldOne(acc[0], vpaddd), out.At(t, 0))
		}
		for r := 0; r+4 <= rows; r += 4 {
			VMOVDQU(fold([4]reg.VecVirtual(acc[t*rows+r:]), vpaddd), out.At(t, 4*r))
		}
	}
	emit.Ret()
}

// i8VNNI multiplies unsigned by signed bytes: x+128 by w, and 128 by w to take
// away again. The sums may wrap on the way; their difference does not.
func i8VNNI(rows, tokens int) {
	name := fmt.Sprintf("dotI8x%dAVX512", rows)
	sig := "func(y *int32, w *int8, ldw int, x *int8, k int)"
	if tokens > 1 {
		name = fmt.Sprintf("dotI8x%dx%dAVX512", rows, tokens)
		sig = "func(y *int32, ldy int, w *int8, ldw int, x *int8, ldx, k int)"
	}
	emit.Func(name, sig, fmt.Sprintf("%s writes %d sums for %d tokens over k elements.", name, rows, tokens))
	w, ldw, x, k := emit.Ptr("w"), emit.Ptr("ldw"), emit.Ptr("x"), emit.Ptr("k")
	ahead := nextTile(w, ldw, rows)
	in := emit.NewRows(w, ldw, rows)
	xs := emit.NewRows(x, ldw, 1)
	if tokens > 1 {
		xs = emit.NewRows(x, emit.Ptr("ldx"), tokens)
	}
	half := ZMM()
	b := GP32()
	MOVL(U32(0x80808080), b)
	VPBROADCASTD(b, half)
	zero := func(n int) []reg.VecVirtual {
		v := make([]reg.VecVirtual, n)
		for i := range v {
			v[i] = ZMM()
			VPXORQ(v[i], v[i], v[i])
		}
		return v
	}
	acc, excess := zero(rows*tokens), zero(rows)
	step := func(load func(m Mem, v reg.VecVirtual)) {
		xv := make([]reg.VecVirtual, tokens)
		for t := range xv {
			xv[t] = ZMM()
			load(xs.At(t, 0), xv[t])
			VPXORQ(half, xv[t], xv[t])
		}
		for r := range rows {
			wv := ZMM()
			load(in.At(r, 0), wv)
			VPDPBUSD(wv, half, excess[r])
			for t := range xv {
				VPDPBUSD(wv, xv[t], acc[t*rows+r])
			}
		}
	}
	lines := GP64()
	MOVQ(k, lines)
	SHRQ(Imm(6), lines)
	ANDQ(Imm(63), k)
	emit.Loop("line", lines, func() {
		step(func(m Mem, v reg.VecVirtual) { VMOVDQU8(m, v) })
		if rows > 1 {
			for r := range rows {
				PREFETCHT1(ahead.At(r, 0))
			}
			ahead.Advance(64)
		}
		in.Advance(64)
		xs.Advance(64)
	})
	TESTQ(k, k)
	JZ(LabelRef("done"))
	bit, mask := GP64(), K()
	MOVQ(I64(-1), bit)
	BZHIQ(k, bit, bit)
	KMOVQ(bit, mask)
	step(func(m Mem, v reg.VecVirtual) { VMOVDQU8_Z(m, mask, v) })
	Label("done")
	narrow := func(t, r int) reg.VecVirtual {
		v, hi := acc[t*rows+r], YMM()
		VPSUBD(excess[r], v, v)
		VEXTRACTI64X4(Imm(1), v, hi)
		VPADDD(hi, v.AsY(), hi)
		return hi
	}
	y := emit.Ptr("y")
	out := emit.NewRows(y, ldw, 1)
	if tokens > 1 {
		out = emit.NewRows(y, emit.Ptr("ldy"), tokens)
	}
	for t := range tokens {
		if rows == 1 {
			VMOVD(foldOne(narrow(t, 0), vpaddd), out.At(t, 0))
		}
		for r := 0; r+4 <= rows; r += 4 {
			VMOVDQU32(fold([4]reg.VecVirtual{narrow(t, r), narrow(t, r+1), narrow(t, r+2), narrow(t, r+3)}, vpaddd), out.At(t, 4*r))
		}
	}
	emit.Ret()
}
