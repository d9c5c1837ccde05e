package graph

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// None is the attribute type of ops without attributes.
type None struct{}

// Attributes are comparable structs whose exported fields are bool, integer,
// float64 or string kinds. A field prints under its `ir` tag, or its
// lower-cased name; a field with its zero value is not printed.

// attrField describes one attribute of an attribute struct.
type attrField struct {
	name  string
	index int
}

func attrFields(t reflect.Type) ([]attrField, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("attributes must be a struct, not %s", t)
	}
	if !t.Comparable() {
		return nil, fmt.Errorf("attributes %s must be comparable", t)
	}
	var fs []attrField
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			return nil, fmt.Errorf("attributes %s: field %s is not exported", t, f.Name)
		}
		switch f.Type.Kind() {
		case reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Float64, reflect.String:
		default:
			return nil, fmt.Errorf("attributes %s: field %s has unsupported type %s", t, f.Name, f.Type)
		}
		name := f.Tag.Get("ir")
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		if !isWord(name) || slices.ContainsFunc(fs, func(o attrField) bool { return o.name == name }) {
			return nil, fmt.Errorf("attributes %s: field %s has a bad or repeated name %q", t, f.Name, name)
		}
		fs = append(fs, attrField{name: name, index: i})
	}
	return fs, nil
}

// Attr is one printed attribute.
type Attr struct{ Name, Value string }

// attrList returns the non-zero attributes in declaration order.
func attrList(attrs any) []Attr {
	v := reflect.ValueOf(attrs)
	if !v.IsValid() {
		return nil
	}
	fs, err := attrFields(v.Type())
	if err != nil {
		return nil
	}
	var out []Attr
	for _, f := range fs {
		if fv := v.Field(f.index); !isZero(fv) {
			out = append(out, Attr{f.name, formatAttr(fv)})
		}
	}
	return out
}

// isZero reports whether an attribute is left out of the text. A negative zero
// is not, which reflect counts as zero.
func isZero(v reflect.Value) bool {
	if v.Kind() == reflect.Float64 {
		return math.Float64bits(v.Float()) == 0
	}
	return v.IsZero()
}

func formatAttr(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.String:
		if s := v.String(); isWord(s) && s != "true" && s != "false" {
			return s
		}
		return strconv.Quote(v.String())
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}

// isWord reports whether s is an identifier, dots allowed inside.
func isWord(s string) bool {
	for _, part := range strings.Split(s, ".") {
		if !isIdent(part) {
			return false
		}
	}
	return s != ""
}

// parseAttrs builds the op's attribute value from printed attributes.
func (op *OpDef) parseAttrs(list []Attr) (any, error) {
	v := reflect.New(op.attrType).Elem()
	seen := map[string]bool{}
	for _, a := range list {
		if seen[a.Name] {
			return nil, fmt.Errorf("%s: attribute %s given twice", op.Name, a.Name)
		}
		seen[a.Name] = true
		i := -1
		for _, f := range op.attrs {
			if f.name == a.Name {
				i = f.index
			}
		}
		if i < 0 {
			return nil, fmt.Errorf("%s has no attribute %q", op.Name, a.Name)
		}
		if err := setAttr(v.Field(i), a.Value); err != nil {
			return nil, fmt.Errorf("%s: attribute %s: %w", op.Name, a.Name, err)
		}
	}
	return v.Interface(), nil
}

func setAttr(v reflect.Value, s string) error {
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("bad bool %q", s)
		}
		v.SetBool(b)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("bad number %q", s)
		}
		v.SetFloat(f)
	case reflect.String:
		if strings.HasPrefix(s, `"`) {
			u, err := strconv.Unquote(s)
			if err != nil {
				return fmt.Errorf("bad string %s", s)
			}
			s = u
		}
		v.SetString(s)
	default:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("bad integer %q", s)
		}
		v.SetInt(n)
	}
	return nil
}
