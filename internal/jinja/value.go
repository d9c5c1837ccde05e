package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A value is nil (none), bool, int, float64, string, *List, *Dict, Func or
// undefined.

// List is a list, a tuple or what a generating filter made.
type List struct {
	items []any
	tuple bool
	lazy  bool // Jinja2 has a generator here: always true, without a length
}

// NewList returns a list of values.
func NewList(items ...any) *List { return &List{items: items} }

// Dict is a map that keeps the order of its keys, which are strings, numbers,
// booleans or nil. Namespaces are Dicts too.
type Dict struct {
	keys  []any
	items map[any]any
	space bool // a namespace: {% set ns.name = … %} may change it
}

// NewDict returns a map of keys and values in turn.
func NewDict(pairs ...any) *Dict {
	d := &Dict{}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.set(pairs[i], pairs[i+1])
	}
	return d
}

// normal gives keys that Python takes for equal one form.
func normal(key any) any {
	switch k := key.(type) {
	case bool:
		if k {
			return 1
		}
		return 0
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int(k)
		}
	}
	return key
}

// hashable reports whether a value can be a key.
func hashable(key any) bool {
	switch key.(type) {
	case *List, *Dict, *loop, Func, undefined:
		return false
	}
	return true
}

func (d *Dict) get(key any) (any, bool) {
	if !hashable(key) {
		return nil, false
	}
	v, ok := d.items[normal(key)]
	return v, ok
}

func (d *Dict) set(key, v any) {
	if d.items == nil {
		d.items = map[any]any{}
	}
	n := normal(key)
	if _, ok := d.items[n]; !ok {
		d.keys = append(d.keys, key)
	}
	d.items[n] = v
}

// Func is a function that templates can call.
type Func func(a *Args) (any, error)

// Args are the arguments of a call.
type Args struct {
	List  []any
	Named map[string]any
	run   *run
}

// Text returns argument i as text, "" if it is not there.
func (a *Args) Text(i int) string {
	if i < len(a.List) {
		return toStr(a.List[i])
	}
	return ""
}

// undefined is what a missing name or attribute gives. It prints as nothing
// and is an error where a value is needed.
type undefined struct{ what string }

func (u undefined) err() error { return fmt.Errorf("%s is undefined", u.what) }

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *List:
		return v.lazy || len(v.items) > 0
	case *Dict:
		return v.space || len(v.keys) > 0
	}
	return true
}

// typeName is for messages.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return "an undefined value"
	case bool:
		return "a boolean"
	case int, float64:
		return "a number"
	case string:
		return "text"
	case *List:
		return "a list"
	case *Dict:
		if v.space {
			return "a namespace"
		}
		return "a map"
	}
	return "a function"
}

// toStr is Python's str.
func toStr(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var b strings.Builder
	repr(&b, v)
	return b.String()
}

// size bounds the length of toStr without making it. It ends: lists and maps
// cannot be changed, so a cycle goes through a namespace, which is not entered.
func size(r *run, v any) (int, error) {
	switch v := v.(type) {
	case string:
		return len(v), nil
	case *List:
		n := 2
		for _, e := range v.items {
			m, err := sizeIn(r, e)
			if err != nil {
				return 0, err
			}
			n += m + 2
		}
		return n, nil
	case *Dict:
		if v.space {
			return 24, nil
		}
		n := 2
		for _, k := range v.keys {
			m, err := sizeIn(r, k)
			if err != nil {
				return 0, err
			}
			n += m + 4
			if m, err = sizeIn(r, v.items[normal(k)]); err != nil {
				return 0, err
			}
			n += m
		}
		return n, nil
	}
	return 24, nil
}

func sizeIn(r *run, v any) (int, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return 0, err
	}
	n, err := size(r, v)
	if n > r.limits.Bytes {
		return 0, r.take(n)
	}
	return 4*n + 2, err // quotes and escapes
}

// repr is Python's repr.
func repr(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(floatText(v))
	case string:
		quote(b, v)
	case *List:
		left, right := "[", "]"
		if v.tuple {
			left, right = "(", ")"
		}
		b.WriteString(left)
		for i, e := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			repr(b, e)
		}
		if v.tuple && len(v.items) == 1 {
			b.WriteString(",")
		}
		b.WriteString(right)
	case *Dict:
		if v.space {
			b.WriteString("<Namespace>")
			return
		}
		b.WriteString("{")
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			repr(b, k)
			b.WriteString(": ")
			repr(b, v.items[normal(k)])
		}
		b.WriteString("}")
	case undefined:
		b.WriteString("Undefined")
	default:
		b.WriteString("<function>")
	}
}

func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func quote(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == '\\' || r == rune(q):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}

// iterate returns the elements of a list, the keys of a map or the characters
// of a text.
func (r *run) iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case *List:
		return v.items, r.step(len(v.items))
	case *Dict:
		if !v.space {
			return v.keys, r.step(len(v.keys))
		}
	case undefined:
		return nil, nil
	case string:
		n := utf8.RuneCountInString(v)
		if err := r.take(32 * n); err != nil {
			return nil, err
		}
		items := make([]any, 0, n)
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, nil
	}
	return nil, fmt.Errorf("%s has no elements", typeName(v))
}
