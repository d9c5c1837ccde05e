package graph

import "fmt"

// DType is the element type of a tensor.
type DType uint8

// The element types. Tern holds ternary weights {-1, 0, +1}: one int8 a code
// on the host; devices choose a packed layout for it.
const (
	InvalidDType DType = iota
	F32
	F64
	F16
	BF16
	I8
	I32
	I64
	U8
	Tern
)

var dtypeNames = [...]string{"invalid", "f32", "f64", "f16", "bf16", "i8", "i32", "i64", "u8", "tern"}
var dtypeSizes = [...]int{0, 4, 8, 2, 2, 1, 4, 8, 1, 1}

// String returns the name used in the textual form, such as "f32".
func (d DType) String() string {
	if int(d) < len(dtypeNames) {
		return dtypeNames[d]
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Size is the bytes one element takes in host memory.
func (d DType) Size() int {
	if int(d) < len(dtypeSizes) {
		return dtypeSizes[d]
	}
	return 0
}

// IsFloat reports whether d is one of the floating-point types.
func (d DType) IsFloat() bool { return d == F32 || d == F64 || d == F16 || d == BF16 }

// ParseDType is the inverse of String.
func ParseDType(s string) (DType, error) {
	for i, n := range dtypeNames {
		if i > 0 && n == s {
			return DType(i), nil
		}
	}
	return InvalidDType, fmt.Errorf("unknown element type %q", s)
}
