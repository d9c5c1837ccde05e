package gorgonia

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Gorgonia does not export the types of its ops. They are told apart by the
// name of their type, and their settings are read from their String methods,
// which are part of what v0.9.18 prints, or by reflection.

// kind is the name of n's op type, such as "sumOp"; "" for ops from elsewhere.
func kind(n *G.Node) string {
	if n == nil || n.Op() == nil {
		return ""
	}
	t := reflect.TypeOf(n.Op())
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() != "gorgonia.org/gorgonia" {
		return ""
	}
	return t.Name()
}

func isConstant(n *G.Node) bool {
	k := kind(n)
	return k == "constantScalar" || k == "constantTensor"
}

// integers are the decimal numbers in an op's name, such as the axes of "Σ[0 1]".
func integers(op G.Op) []int {
	var ns []int
	for _, w := range strings.FieldsFunc(op.String(), func(r rune) bool { return !unicode.IsDigit(r) && r != '-' }) {
		if n, err := strconv.Atoi(w); err == nil {
			ns = append(ns, n)
		}
	}
	return ns
}

// field reads an integer that an op keeps to itself.
func field(op G.Op, name string) (int, error) {
	v := reflect.ValueOf(op)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName(name); f.IsValid() && f.CanInt() {
			return int(f.Int()), nil
		}
	}
	return 0, fmt.Errorf("this version of Gorgonia keeps no %s in %T; trit knows v0.9.18", name, op)
}

// binary splits the name of an elementwise op of two operands: its symbol, and
// whether a comparison gives numbers.
func binary(op G.Op) (symbol string, retSame bool) {
	symbol, same, _ := strings.Cut(op.String(), " ")
	return symbol, same == "true"
}

// product is what a linear algebra op's name says: "Aᵀ × Bᵀ" is a product of
// matrices, "A × b" of a matrix and a vector, "a ⋅ b" and "a ⊗ b" of vectors,
// "A ××× B" of many matrices.
func product(op G.Op) (symbol string, ta, tb bool) {
	words := strings.Fields(op.String())
	if len(words) != 3 {
		return op.String(), false, false
	}
	ta, tb = strings.HasSuffix(words[0], "ᵀ"), strings.HasSuffix(words[2], "ᵀ")
	return strings.TrimSuffix(words[0], "ᵀ") + words[1] + strings.TrimSuffix(words[2], "ᵀ"), ta, tb
}

// sliceOf is the range and the axis of a slice op; nil is the whole axis.
func sliceOf(op G.Op) (s tensor.Slice, along int, err error) {
	so, ok := op.(interface{ IsSlice() tensor.Slice })
	if !ok {
		return nil, 0, fmt.Errorf("%T has no IsSlice method; trit knows v0.9.18", op)
	}
	along, err = field(op, "along")
	return so.IsSlice(), along, err
}

// isLog reports whether a softmax op gives logarithms.
func isLog(op G.Op) (bool, error) {
	_, log, ok := strings.Cut(strings.TrimSuffix(op.String(), "}()"), ", ")
	if !ok {
		return false, fmt.Errorf("%q is no softmax that trit knows", op)
	}
	return log == "true", nil
}
