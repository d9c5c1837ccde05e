package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// tojson writes JSON as Python's json.dumps does, with ensure_ascii off unless
// it is asked for: the filter that transformers puts in place of Jinja's.
func tojson(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{r: r, ascii: boolOr(v[0], false), sorted: boolOr(v[3], false), comma: ", ", colon: ": "}
	if given(v[1]) {
		n, err := intOr(v[1], 0)
		if err != nil || n > maxIndent {
			return nil, fmt.Errorf("indent is not an integer up to %d", maxIndent)
		}
		w.lines, w.indent, w.comma = true, strings.Repeat(" ", max(n, 0)), ","
	}
	if given(v[2]) {
		l, ok := v[2].(*List)
		if !ok || len(l.items) != 2 {
			return nil, errors.New("separators is not a pair")
		}
		if w.comma, err = textOr(l.items[0], ""); err != nil {
			return nil, err
		}
		if w.colon, err = textOr(l.items[1], ""); err != nil {
			return nil, err
		}
	}
	if err := w.value(in, 0); err != nil {
		return nil, err
	}
	return w.b.String(), nil
}

type jsonWriter struct {
	r            *run
	b            strings.Builder
	ascii        bool
	sorted       bool
	lines        bool // an element a line
	indent       string
	comma, colon string
}

func (w *jsonWriter) write(s string) error { return w.r.write(&w.b, s) }

func (w *jsonWriter) value(v any, depth int) error {
	defer w.r.leave()
	if err := w.r.enter(); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		return w.text(v)
	case *List:
		if v.lazy {
			break
		}
		return w.list("[", "]", len(v.items), depth, func(i int) error { return w.value(v.items[i], depth+1) })
	case *Dict:
		if v.space {
			break
		}
		return w.dict(v, depth)
	default:
		if s, ok := scalar(v); ok {
			return w.write(s)
		}
	}
	return fmt.Errorf("%s has no JSON form", typeName(v))
}

// scalar is the JSON of what is neither text, list nor map.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "null", true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	case int:
		return toStr(v), true
	case float64:
		s := toStr(v)
		if long, ok := map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[s]; ok {
			s = long
		}
		return s, true
	}
	return "", false
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	keys := d.keys
	if w.sorted {
		list, err := w.r.keyed(keys, nil, true)
		if err != nil {
			return err
		}
		if keys, err = w.r.sorted(list, false); err != nil {
			return err
		}
		keys = slices.Clone(keys)
	}
	return w.list("{", "}", len(keys), depth, func(i int) error {
		key, ok := keys[i].(string)
		if !ok {
			key, _ = scalar(keys[i])
		}
		if err := w.text(key); err != nil {
			return err
		}
		if err := w.write(w.colon); err != nil {
			return err
		}
		return w.value(d.items[normal(keys[i])], depth+1)
	})
}

func (w *jsonWriter) list(begin, end string, n, depth int, item func(int) error) error {
	newline := func(depth int) error {
		if !w.lines || n == 0 {
			return nil
		}
		if err := w.r.takeTimes(len(w.indent), depth); err != nil {
			return err
		}
		return w.write("\n" + strings.Repeat(w.indent, depth))
	}
	err := w.write(begin)
	for i := 0; i < n && err == nil; i++ {
		if i > 0 {
			err = w.write(w.comma)
		}
		if err == nil {
			err = newline(depth + 1)
		}
		if err == nil {
			err = item(i)
		}
	}
	if err == nil {
		err = newline(depth)
	}
	if err != nil {
		return err
	}
	return w.write(end)
}

func (w *jsonWriter) text(s string) error {
	if err := w.r.take(len(s)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		i := strings.IndexRune("\"\\\n\r\t\b\f", c)
		switch {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(`"\nrtbf`[i])
		case c < 0x20, w.ascii && c > 0x7e && c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		case w.ascii && c >= 0x10000:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return w.write(b.String())
}
