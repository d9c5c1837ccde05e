package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A method of a value.
type method[T any] func(r *run, self T, a *Args) (any, error)

func bind[T any](r *run, m method[T], self T) Func {
	return func(a *Args) (any, error) { return m(r, self, a) }
}

// The methods of text, lists and maps. Those that change a value are missing.
var strMethods, listMethods, dictMethods = makeStrMethods(), makeListMethods(), makeDictMethods()

func makeStrMethods() map[string]method[string] {
	// plain makes a method without arguments out of a function.
	plain := func(f func(string) string) method[string] {
		return func(r *run, self string, a *Args) (any, error) {
			if _, err := a.bind(0); err != nil {
				return nil, err
			}
			if err := r.take(2 * len(self)); err != nil {
				return nil, err
			}
			return f(self), nil
		}
	}
	check := func(f func(string) bool) method[string] {
		return func(r *run, self string, a *Args) (any, error) {
			if _, err := a.bind(0); err != nil {
				return nil, err
			}
			return f(self), r.look(len(self))
		}
	}
	strip := func(trim func(string, func(rune) bool) string) method[string] {
		return func(r *run, self string, a *Args) (any, error) { return r.strip(self, a, trim) }
	}
	return map[string]method[string]{
		"capitalize": plain(capitalize),
		"lower":      plain(strings.ToLower),
		"upper":      plain(strings.ToUpper),
		"title":      plain(titleMethod),
		"strip":      strip(strings.TrimFunc),
		"lstrip":     strip(strings.TrimLeftFunc),
		"rstrip":     strip(strings.TrimRightFunc),
		"isalpha":    check(func(s string) bool { return all(s, unicode.IsLetter) }),
		"isalnum": check(func(s string) bool {
			return all(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
		}),
		"isdigit":      check(func(s string) bool { return all(s, unicode.IsDigit) }),
		"isspace":      check(func(s string) bool { return all(s, isSpace) }),
		"islower":      check(func(s string) bool { return cased(s, true) }),
		"isupper":      check(func(s string) bool { return cased(s, false) }),
		"startswith":   affix(strings.HasPrefix),
		"endswith":     affix(strings.HasSuffix),
		"removeprefix": cut(strings.TrimPrefix),
		"removesuffix": cut(strings.TrimSuffix),
		"split":        splitter(false),
		"rsplit":       splitter(true),
		"splitlines":   splitLinesMethod,
		"replace":      (*run).replace,
		"join":         joinMethod,
		"find":         finder(strings.Index),
		"rfind":        finder(strings.LastIndex),
		"count":        countMethod,
	}
}

func (r *run) strip(self string, a *Args, trim func(string, func(rune) bool) string) (any, error) {
	v, err := a.bind(0, "chars")
	if err != nil {
		return nil, err
	}
	if !given(v[0]) {
		return trim(self, isSpace), r.look(len(self))
	}
	chars, err := textOr(v[0], "")
	if err != nil {
		return nil, err
	}
	// A step for every 64 comparisons.
	if err := r.step(len(self) * min(len(chars), 1<<20) >> 6); err != nil {
		return nil, err
	}
	return trim(self, func(c rune) bool { return strings.ContainsRune(chars, c) }), nil
}

// affix makes startswith and endswith, which take a text or a tuple of texts.
func affix(has func(s, part string) bool) method[string] {
	return func(r *run, self string, a *Args) (any, error) {
		v, err := a.bind(1, "text")
		if err != nil {
			return nil, err
		}
		parts := []any{v[0]}
		if l, ok := v[0].(*List); ok {
			parts = l.items
		}
		for _, p := range parts {
			s, ok := p.(string)
			if !ok {
				return nil, fmt.Errorf("%s in place of text", typeName(p))
			}
			if err := r.look(min(len(s), len(self))); err != nil {
				return nil, err
			}
			if has(self, s) {
				return true, nil
			}
		}
		return false, nil
	}
}

func cut(trim func(s, part string) string) method[string] {
	return func(r *run, self string, a *Args) (any, error) {
		s, err := a.oneText()
		if err != nil {
			return nil, err
		}
		return trim(self, s), r.look(len(s))
	}
}

// oneText returns the only argument, which must be text.
func (a *Args) oneText() (string, error) {
	v, err := a.bind(1, "text")
	if err != nil {
		return "", err
	}
	s, ok := v[0].(string)
	if !ok {
		return "", fmt.Errorf("%s in place of text", typeName(v[0]))
	}
	return s, nil
}

func splitter(fromRight bool) method[string] {
	return func(r *run, self string, a *Args) (any, error) {
		v, err := a.bind(0, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most, err := intOr(v[1], -1)
		if err != nil {
			return nil, err
		}
		sep, err := textOr(v[0], "")
		switch {
		case err != nil:
			return nil, err
		case !given(v[0]):
			if err := r.take(16 * (1 + len(self)/2)); err != nil {
				return nil, err
			}
			return texts(splitBlanks(self, most, fromRight)), nil
		case sep == "":
			return nil, errors.New("an empty separator")
		}
		if err := r.take(16*(1+strings.Count(self, sep)) + len(self)); err != nil {
			return nil, err
		}
		return texts(splitAt(self, sep, most, fromRight)), nil
	}
}

func texts(list []string) *List {
	items := make([]any, len(list))
	for i, s := range list {
		items[i] = s
	}
	return &List{items: items}
}

func splitLinesMethod(r *run, self string, a *Args) (any, error) {
	v, err := a.bind(0, "keepends")
	if err != nil {
		return nil, err
	}
	if err := r.take(16 * (1 + len(self))); err != nil {
		return nil, err
	}
	return texts(splitLines(self, boolOr(v[0], false))), nil
}

func (r *run) replace(self string, a *Args) (any, error) {
	v, err := a.bind(2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	from, err := r.str(v[0])
	if err != nil {
		return nil, err
	}
	to, err := r.str(v[1])
	if err != nil {
		return nil, err
	}
	n, err := intOr(v[2], -1)
	if err != nil {
		return nil, err
	}
	count := strings.Count(self, from)
	if n >= 0 {
		count = min(count, n)
	}
	if err := r.takeTimes(len(to)+1, count); err != nil {
		return nil, err
	}
	return strings.Replace(self, from, to, n), r.take(len(self))
}

func joinMethod(r *run, self string, a *Args) (any, error) {
	v, err := a.bind(1, "list")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v[0])
	if err != nil {
		return nil, err
	}
	for _, e := range items {
		if _, ok := e.(string); !ok {
			return nil, fmt.Errorf("%s in a list of texts", typeName(e))
		}
	}
	return r.join(items, self)
}

func (r *run) join(items []any, sep string) (string, error) {
	parts := make([]string, len(items))
	for i, e := range items {
		var err error
		if parts[i], err = r.str(e); err != nil {
			return "", err
		}
		if err := r.take(16 + len(parts[i]) + len(sep)); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, sep), nil
}

// finder makes find and rfind, which count characters.
func finder(find func(s, part string) int) method[string] {
	return func(r *run, self string, a *Args) (any, error) {
		s, err := a.oneText()
		if err != nil {
			return nil, err
		}
		i := find(self, s)
		if i > 0 {
			i = utf8.RuneCountInString(self[:i])
		}
		return i, r.look(2 * len(self))
	}
}

func countMethod(r *run, self string, a *Args) (any, error) {
	s, err := a.oneText()
	if err != nil {
		return nil, err
	}
	return strings.Count(self, s), r.look(len(self))
}

func makeListMethods() map[string]method[*List] {
	find := func(r *run, l *List, a *Args) (n, first int, err error) {
		v, err := a.bind(1, "value")
		if err != nil {
			return 0, 0, err
		}
		first = -1
		for i, e := range l.items {
			eq, err := r.equal(e, v[0])
			if err != nil {
				return 0, 0, err
			}
			if eq {
				if n++; first < 0 {
					first = i
				}
			}
		}
		return n, first, nil
	}
	return map[string]method[*List]{
		"count": func(r *run, l *List, a *Args) (any, error) {
			n, _, err := find(r, l, a)
			return n, err
		},
		"index": func(r *run, l *List, a *Args) (any, error) {
			_, i, err := find(r, l, a)
			if err == nil && i < 0 {
				err = errors.New("the value is not in the list")
			}
			return i, err
		},
	}
}

func makeDictMethods() map[string]method[*Dict] {
	view := func(f func(d *Dict, k any) any) method[*Dict] {
		return func(r *run, d *Dict, a *Args) (any, error) {
			if _, err := a.bind(0); err != nil {
				return nil, err
			}
			return r.view(d, f)
		}
	}
	return map[string]method[*Dict]{
		"keys":   view(func(_ *Dict, k any) any { return k }),
		"values": view(func(d *Dict, k any) any { return d.items[normal(k)] }),
		"items":  view(pair),
		"get": func(r *run, d *Dict, a *Args) (any, error) {
			v, err := a.bind(1, "key", "default")
			if err != nil {
				return nil, err
			}
			if !hashable(v[0]) {
				return nil, fmt.Errorf("%s as a key", typeName(v[0]))
			}
			if item, ok := d.get(v[0]); ok {
				return item, nil
			}
			if v[1] == (absent{}) {
				return nil, nil
			}
			return v[1], nil
		},
	}
}

func pair(d *Dict, k any) any {
	return &List{items: []any{k, d.items[normal(k)]}, tuple: true}
}

func (r *run) view(d *Dict, f func(d *Dict, k any) any) (*List, error) {
	if err := r.take(64 * len(d.keys)); err != nil {
		return nil, err
	}
	items := make([]any, len(d.keys))
	for i, k := range d.keys {
		items[i] = f(d, k)
	}
	return &List{items: items}, nil
}
