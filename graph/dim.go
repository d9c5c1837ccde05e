package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Sym is a bounded symbol: a size that is not known when a graph is built, such
// as the number of tokens in a step.
type Sym struct {
	Name     string
	Min, Max int // inclusive
}

// Dim is one extent of a shape: a constant, or Mul*Sym+Add of one bounded
// symbol. The zero value is the constant 0. Dims compare with ==.
type Dim struct {
	Sym      string // "" for a constant
	Mul, Add int
}

// C returns the constant dimension n.
func C(n int) Dim { return Dim{Add: n} }

// Const returns the dimension's value if it is constant.
func (d Dim) Const() (int, bool) { return d.Add, d.Sym == "" }

// Times returns k*d.
func (d Dim) Times(k int) Dim {
	if k == 0 || d.Sym == "" {
		return Dim{Add: d.Add * k}
	}
	return Dim{Sym: d.Sym, Mul: d.Mul * k, Add: d.Add * k}
}

// Plus returns d+k.
func (d Dim) Plus(k int) Dim { d.Add += k; return d }

// Div returns d/k if it is exact for every value of the symbol.
func (d Dim) Div(k int) (Dim, bool) {
	if k == 0 || d.Mul%k != 0 || d.Add%k != 0 {
		return Dim{}, false
	}
	return Dim{Sym: d.Sym, Mul: d.Mul / k, Add: d.Add / k}, true
}

// Eval returns the extent under the given symbol values.
func (d Dim) Eval(syms map[string]int) (int, error) {
	if d.Sym == "" {
		return d.Add, nil
	}
	v, ok := syms[d.Sym]
	if !ok {
		return 0, fmt.Errorf("symbol %s has no value", d.Sym)
	}
	return d.Mul*v + d.Add, nil
}

// String prints the form that parseDim reads: "5", "S", "4*S", "2*S+1".
func (d Dim) String() string {
	if d.Sym == "" {
		return strconv.Itoa(d.Add)
	}
	s := d.Sym
	if d.Mul != 1 {
		s = strconv.Itoa(d.Mul) + "*" + s
	}
	switch {
	case d.Add > 0:
		s += "+" + strconv.Itoa(d.Add)
	case d.Add < 0:
		s += strconv.Itoa(d.Add)
	}
	return s
}

func parseDim(s string) (Dim, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return C(n), nil
	}
	d := Dim{Mul: 1}
	rest := s
	if i := strings.IndexByte(rest, '*'); i >= 0 {
		m, err := strconv.Atoi(rest[:i])
		if err != nil {
			return Dim{}, fmt.Errorf("bad dimension %q", s)
		}
		d.Mul, rest = m, rest[i+1:]
	}
	if i := strings.IndexAny(rest, "+-"); i > 0 {
		a, err := strconv.Atoi(rest[i:])
		if err != nil {
			return Dim{}, fmt.Errorf("bad dimension %q", s)
		}
		d.Add, rest = a, rest[:i]
	}
	if !isIdent(rest) || d.Mul == 0 {
		return Dim{}, fmt.Errorf("bad dimension %q", s)
	}
	d.Sym = rest
	return d, nil
}

func isIdent(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// isValueName reports whether s can follow a % in the textual form: letters,
// digits, dots and underscores, in any order.
func isValueName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Shape is the extents of a tensor, outermost first; a scalar has none.
type Shape []Dim

// Dims returns a constant shape.
func Dims(ns ...int) Shape {
	s := make(Shape, len(ns))
	for i, n := range ns {
		s[i] = C(n)
	}
	return s
}

// Equal reports whether both shapes have the same extents.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Eval returns the concrete extents under the given symbol values.
func (s Shape) Eval(syms map[string]int) ([]int, error) {
	out := make([]int, len(s))
	for i, d := range s {
		n, err := d.Eval(syms)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// String prints "[S,2560]"; a scalar prints "[]".
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(d.String())
	}
	b.WriteByte(']')
	return b.String()
}

// Layout names how a device stores a tensor; empty means plain row-major. It is
// made of letters, digits, dots and underscores. Layouts appear only after lowering.
type Layout string

// Type is the type of one value: element type, shape and, after lowering, the
// device's layout.
type Type struct {
	Elem   DType
	Shape  Shape
	Layout Layout
}

// T returns the row-major type of the given element type and shape.
func T(elem DType, dims ...Dim) Type { return Type{Elem: elem, Shape: dims} }

// Equal reports whether t and u are the same type.
func (t Type) Equal(u Type) bool {
	return t.Elem == u.Elem && t.Layout == u.Layout && t.Shape.Equal(u.Shape)
}

// Rank is the number of dimensions.
func (t Type) Rank() int { return len(t.Shape) }

// Last returns the innermost extent, or the constant 1 of a scalar.
func (t Type) Last() Dim {
	if len(t.Shape) == 0 {
		return C(1)
	}
	return t.Shape[len(t.Shape)-1]
}

// String prints "f32[S,2560]" or "tern[64,32]@i2".
func (t Type) String() string {
	s := t.Elem.String() + t.Shape.String()
	if t.Layout != "" {
		s += "@" + string(t.Layout)
	}
	return s
}

// ParseType is the inverse of Type.String.
func ParseType(s string) (Type, error) {
	open := strings.IndexByte(s, '[')
	end := strings.IndexByte(s, ']')
	if open < 0 || end < open {
		return Type{}, fmt.Errorf("bad type %q: want elem[dims]", s)
	}
	elem, err := ParseDType(s[:open])
	if err != nil {
		return Type{}, err
	}
	t := Type{Elem: elem}
	if body := s[open+1 : end]; body != "" {
		for _, f := range strings.Split(body, ",") {
			d, err := parseDim(strings.TrimSpace(f))
			if err != nil {
				return Type{}, err
			}
			t.Shape = append(t.Shape, d)
		}
	}
	switch rest := s[end+1:]; {
	case rest == "":
	case rest[0] == '@' && isValueName(rest[1:]):
		t.Layout = Layout(rest[1:])
	default:
		return Type{}, fmt.Errorf("bad type %q: unexpected %q", s, rest)
	}
	return t, nil
}

// checkType reports whether a value can have type t, given the declared
// symbols: every extent is non-negative for every value of its symbol, and the
// smallest size is one that a tensor can have.
func checkType(t Type, syms []Sym) error {
	if t.Elem == InvalidDType || int(t.Elem) >= len(dtypeNames) {
		return fmt.Errorf("bad element type %s", t.Elem)
	}
	least := make([]int, len(t.Shape))
	for i, d := range t.Shape {
		if d.Sym == "" {
			least[i] = d.Add
			if d.Add < 0 {
				return fmt.Errorf("negative extent in %s", t)
			}
			continue
		}
		j := slices.IndexFunc(syms, func(s Sym) bool { return s.Name == d.Sym })
		if j < 0 {
			return fmt.Errorf("symbol %s of %s is not declared", d.Sym, t)
		}
		if d.Mul == 0 {
			return fmt.Errorf("extent %s of %s: zero times a symbol", d, t)
		}
		s := syms[j]
		lo, hi := d.Mul*s.Min+d.Add, d.Mul*s.Max+d.Add
		if lo < 0 || hi < 0 {
			return fmt.Errorf("extent %s of %s is negative for some %s in %d..%d", d, t, s.Name, s.Min, s.Max)
		}
		least[i] = min(lo, hi)
	}
	if _, err := Count(least); err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	return nil
}
