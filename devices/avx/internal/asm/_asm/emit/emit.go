// Package emit holds the few phrases that the kernel generators share.
package emit

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Begin sets what every generated file has in common.
func Begin() {
	ConstraintExpr("amd64,!purego")
}

// Func starts a leaf function without a frame.
func Func(name, signature string, doc ...string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(doc...)
}

// Ptr loads a pointer or integer argument.
func Ptr(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name), r)
	return r
}

// Dwords is a ZMM register with v in every doubleword.
func Dwords(v uint32) reg.VecVirtual { return DwordsOf(ZMM(), v) }

// DwordsOf sets every doubleword of a YMM or ZMM register to v and returns it.
func DwordsOf(z reg.VecVirtual, v uint32) reg.VecVirtual {
	r := GP32()
	MOVL(U32(v), r)
	return broadcast(r, z)
}

// DwordsParam sets every doubleword of a YMM or ZMM register to an int32 argument and
// returns it.
func DwordsParam(z reg.VecVirtual, name string) reg.VecVirtual {
	return broadcast(Load(Param(name), GP32()), z)
}

func broadcast(r reg.Register, z reg.VecVirtual) reg.VecVirtual {
	x := XMM()
	VMOVD(r, x)
	VPBROADCASTD(x, z)
	return z
}

// WordsY1 is a YMM register with 1 in every word.
func WordsY1() (y reg.VecVirtual) {
	y = YMM()
	VPCMPEQW(y, y, y)
	VPSRLW(Imm(15), y, y)
	return y
}

// Zero clears a YMM or ZMM register.
func Zero(v reg.VecVirtual) {
	if v.Size() == 64 {
		VPXORQ(v, v, v)
		return
	}
	VPXOR(v, v, v)
}

// And sets z to x and y, YMM or ZMM registers.
func And(x, y, z reg.VecVirtual) {
	if z.Size() == 64 {
		VPANDQ(x, y, z)
		return
	}
	VPAND(x, y, z)
}

// LoadVec loads a YMM or ZMM register from any address.
func LoadVec(m Mem, v reg.VecVirtual) { move(m, v, v) }

// StoreVec stores one.
func StoreVec(v reg.VecVirtual, m Mem) { move(v, m, v) }

func move(from, to Op, v reg.VecVirtual) {
	if v.Size() == 64 {
		VMOVDQU64(from, to)
		return
	}
	VMOVDQU(from, to)
}

// Address is where an argument or result of a plain type lies.
func Address(c gotypes.Component) Mem {
	basic, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return basic.Addr
}

// Ret ends a function that has used 256- or 512-bit registers.
func Ret() {
	VZEROUPPER()
	RET()
}

// Loop emits body while n counts down to zero. n is consumed; body is skipped
// when n is zero.
func Loop(label string, n reg.Register, body func()) {
	TESTQ(n, n)
	JZ(LabelRef(label + "_end"))
	Label(label)
	body()
	DECQ(n)
	JNZ(LabelRef(label))
	Label(label + "_end")
}

// Rows addresses up to 12 strided rows: a base register for every three.
type Rows struct {
	bases  []reg.GPVirtual
	stride reg.GPVirtual
}

// NewRows prepares the addresses of n rows. base is kept as the first row's
// pointer and stride is in bytes.
func NewRows(base, stride reg.GPVirtual, n int) Rows {
	r := Rows{[]reg.GPVirtual{base}, stride}
	for i := 3; i < n; i += 3 {
		next := GP64()
		LEAQ(Mem{Base: r.bases[len(r.bases)-1], Index: stride, Scale: 2}, next)
		ADDQ(stride, next)
		r.bases = append(r.bases, next)
	}
	return r
}

// At is row i at a byte offset.
func (r Rows) At(i, offset int) Mem {
	m := Mem{Base: r.bases[i/3], Disp: offset}
	if i%3 > 0 {
		m.Index, m.Scale = r.stride, uint8(i%3)
	}
	return m
}

// Advance moves all rows by a constant number of bytes.
func (r Rows) Advance(bytes int) {
	for _, b := range r.bases {
		ADDQ(U32(uint32(bytes)), b)
	}
}

// AdvanceBy moves all rows by a register's number of bytes.
func (r Rows) AdvanceBy(bytes reg.Register) {
	for _, b := range r.bases {
		ADDQ(bytes, b)
	}
}

// Quads calls f with four ZMM registers of doublewords, each of a byte of every c in
// turn: in the order in which unpacking leaves them.
func Quads(c [4]reg.VecVirtual, f func(z int, v reg.VecVirtual)) {
	abl, abh, cdl, cdh := ZMM(), ZMM(), ZMM(), ZMM()
	VPUNPCKLBW(c[1], c[0], abl)
	VPUNPCKLBW(c[3], c[2], cdl)
	VPUNPCKHBW(c[1], c[0], abh)
	VPUNPCKHBW(c[3], c[2], cdh)
	for z := range 4 {
		v := ZMM()
		switch z {
		case 0:
			VPUNPCKLWD(cdl, abl, v)
		case 1:
			VPUNPCKHWD(cdl, abl, v)
		case 2:
			VPUNPCKLWD(cdh, abh, v)
		case 3:
			VPUNPCKHWD(cdh, abh, v)
		}
		f(z, v)
	}
}

// Crumbs calls f with the fields of two bits of the bytes of v, a YMM or ZMM register;
// low is 3 in every byte.
func Crumbs(low, v reg.VecVirtual, f func(j int, t reg.VecVirtual)) {
	for j := range 4 {
		t := YMM()
		if v.Size() == 64 {
			t = ZMM()
		}
		if j == 0 {
			And(low, v, t)
		} else {
			VPSRLW(Imm(uint64(2*j)), v, t)
			And(low, t, t)
		}
		f(j, t)
	}
}
