package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// ValueType is the type of a metadata value.
type ValueType uint32

// The value types, numbered as in files.
const (
	TypeUint8 ValueType = iota
	TypeInt8
	TypeUint16
	TypeInt16
	TypeUint32
	TypeInt32
	TypeFloat32
	TypeBool
	TypeString
	TypeArray
	TypeUint64
	TypeInt64
	TypeFloat64
)

var valueTypes = [...]struct {
	name string
	size int // 0 for strings and arrays
}{
	{"u8", 1}, {"i8", 1}, {"u16", 2}, {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4}, {"bool", 1},
	{"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
}

func (t ValueType) valid() bool { return int(t) < len(valueTypes) }

func (t ValueType) size() int { return valueTypes[t].size }

func (t ValueType) String() string {
	if t.valid() {
		return valueTypes[t].name
	}
	return fmt.Sprintf("value type %d", uint32(t))
}

// Value is a metadata value. It keeps the bytes of the file and decodes them
// when asked: a vocabulary has some 400 000 strings that few callers want.
type Value struct {
	Type ValueType
	Elem ValueType // of an array
	Len  int       // of an array
	raw  []byte    // the payload: a number, a string's bytes, an array's elements
}

// KV is one metadata entry.
type KV struct {
	Key   string
	Value Value
}

// Int returns an integer or boolean value; false if it is something else or
// does not fit.
func (v Value) Int() (int64, bool) { return intOf(v.Type, v.raw) }

func intOf(t ValueType, b []byte) (int64, bool) {
	switch t {
	case TypeUint8, TypeBool:
		return int64(b[0]), true
	case TypeInt8:
		return int64(int8(b[0])), true
	case TypeUint16:
		return int64(binary.LittleEndian.Uint16(b)), true
	case TypeInt16:
		return int64(int16(binary.LittleEndian.Uint16(b))), true
	case TypeUint32:
		return int64(binary.LittleEndian.Uint32(b)), true
	case TypeInt32:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case TypeUint64, TypeInt64:
		u := binary.LittleEndian.Uint64(b)
		return int64(u), t == TypeInt64 || u <= math.MaxInt64
	}
	return 0, false
}

// Float returns a number of any kind as float64.
func (v Value) Float() (float64, bool) {
	switch v.Type {
	case TypeFloat32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw))), true
	case TypeFloat64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.raw)), true
	case TypeBool:
		return 0, false
	}
	n, ok := v.Int()
	return float64(n), ok
}

// Bool returns a boolean value.
func (v Value) Bool() (value, ok bool) {
	return v.Type == TypeBool && v.raw[0] == 1, v.Type == TypeBool
}

// Text returns a string value. It need not be valid UTF-8.
func (v Value) Text() (string, bool) {
	if v.Type != TypeString {
		return "", false
	}
	return string(v.raw), true
}

// Texts returns an array of strings.
func (v Value) Texts() ([]string, bool) {
	if v.Type != TypeArray || v.Elem != TypeString {
		return nil, false
	}
	out := make([]string, v.Len)
	all := string(v.raw) // one allocation that all share
	at := 0
	for i := range out {
		n := int(binary.LittleEndian.Uint64(v.raw[at:])) // the reader has checked it
		at += 8
		out[i] = all[at : at+n]
		at += n
	}
	return out, true
}

// Ints returns an array of integers.
func (v Value) Ints() ([]int64, bool) {
	if v.Type != TypeArray || v.Elem.size() == 0 {
		return nil, false
	}
	out := make([]int64, v.Len)
	for i := range out {
		n, ok := intOf(v.Elem, v.raw[i*v.Elem.size():])
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Float32s returns an array of float32.
func (v Value) Float32s() ([]float32, bool) {
	if v.Type != TypeArray || v.Elem != TypeFloat32 {
		return nil, false
	}
	out := make([]float32, v.Len)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.raw[4*i:]))
	}
	return out, true
}

// Equal reports whether two values have the same type and bytes.
func (v Value) Equal(w Value) bool {
	return v.Type == w.Type && v.Elem == w.Elem && v.Len == w.Len && string(v.raw) == string(w.raw)
}

// String renders the value for a person; long arrays are summarised.
func (v Value) String() string {
	switch v.Type {
	case TypeString:
		return fmt.Sprintf("%q", v.raw)
	case TypeArray:
		return fmt.Sprintf("%s[%d]", v.Elem, v.Len)
	case TypeBool:
		return fmt.Sprint(v.raw[0] == 1)
	case TypeFloat32, TypeFloat64:
		f, _ := v.Float()
		return fmt.Sprint(f)
	case TypeUint64:
		return fmt.Sprint(binary.LittleEndian.Uint64(v.raw))
	}
	n, _ := v.Int()
	return fmt.Sprint(n)
}

// Uint32 makes a value of type u32.
func Uint32(n uint32) Value {
	return Value{Type: TypeUint32, raw: binary.LittleEndian.AppendUint32(nil, n)}
}

// Float32 makes a value of type f32.
func Float32(f float32) Value {
	return Value{Type: TypeFloat32, raw: binary.LittleEndian.AppendUint32(nil, math.Float32bits(f))}
}

// Bool makes a value of type bool.
func Bool(b bool) Value {
	raw := []byte{0}
	if b {
		raw[0] = 1
	}
	return Value{Type: TypeBool, raw: raw}
}

// Text makes a value of type string.
func Text(s string) Value { return Value{Type: TypeString, raw: []byte(s)} }

// Texts makes an array of strings.
func Texts(ss []string) Value {
	v := Value{Type: TypeArray, Elem: TypeString, Len: len(ss)}
	for _, s := range ss {
		v.raw = binary.LittleEndian.AppendUint64(v.raw, uint64(len(s)))
		v.raw = append(v.raw, s...)
	}
	return v
}

// Int32s makes an array of i32.
func Int32s(ns []int32) Value {
	v := Value{Type: TypeArray, Elem: TypeInt32, Len: len(ns)}
	for _, n := range ns {
		v.raw = binary.LittleEndian.AppendUint32(v.raw, uint32(n))
	}
	return v
}

// Float32s makes an array of f32.
func Float32s(fs []float32) Value {
	v := Value{Type: TypeArray, Elem: TypeFloat32, Len: len(fs)}
	for _, f := range fs {
		v.raw = binary.LittleEndian.AppendUint32(v.raw, math.Float32bits(f))
	}
	return v
}
