package jinja

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

type filterFunc func(r *run, in any, a *Args) (any, error)

// filters are all filters. A run has them too: some filters apply others.
var filters = makeFilters()

func makeFilters() map[string]filterFunc {
	// onText makes a filter without arguments, of what the input prints as.
	onText := func(f func(string) string) filterFunc {
		return func(r *run, in any, a *Args) (any, error) {
			s, err := r.str(in)
			if err != nil {
				return nil, err
			}
			if _, err := a.bind(0); err != nil {
				return nil, err
			}
			return f(s), r.take(2 * len(s))
		}
	}
	method := func(m method[string]) filterFunc {
		return func(r *run, in any, a *Args) (any, error) {
			s, err := r.str(in)
			if err != nil {
				return nil, err
			}
			return m(r, s, a)
		}
	}
	same := func(s string) string { return s }
	return map[string]filterFunc{
		"capitalize": onText(capitalize),
		"lower":      onText(strings.ToLower),
		"upper":      onText(strings.ToUpper),
		"title":      onText(titleFilter),
		"string":     onText(same),
		"safe":       onText(same),
		"trim":       method(strMethods["strip"]),
		"replace":    method((*run).replace),
		"indent":     indentFilter,
		"tojson":     tojson,
		"default":    defaultFilter,
		"d":          defaultFilter,
		"length":     lengthFilter,
		"count":      lengthFilter,
		"abs":        absFilter,
		"int":        intFilter,
		"float":      floatFilter,
		"round":      roundFilter,

		"first":      func(r *run, in any, a *Args) (any, error) { return r.end(in, a, false) },
		"last":       func(r *run, in any, a *Args) (any, error) { return r.end(in, a, true) },
		"list":       listFilter,
		"reverse":    reverseFilter,
		"join":       joinFilter,
		"items":      itemsFilter,
		"map":        mapFilter,
		"select":     func(r *run, in any, a *Args) (any, error) { return r.pickBy(in, a, false, true) },
		"reject":     func(r *run, in any, a *Args) (any, error) { return r.pickBy(in, a, false, false) },
		"selectattr": func(r *run, in any, a *Args) (any, error) { return r.pickBy(in, a, true, true) },
		"rejectattr": func(r *run, in any, a *Args) (any, error) { return r.pickBy(in, a, true, false) },
		"sort":       sortFilter,
		"unique":     uniqueFilter,
		"min":        func(r *run, in any, a *Args) (any, error) { return r.extreme(in, a, -1) },
		"max":        func(r *run, in any, a *Args) (any, error) { return r.extreme(in, a, 1) },
		"sum":        sumFilter,
		"dictsort":   dictsortFilter,
	}
}

const maxIndent = 1000

func indentFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	pad, isText := v[0].(string)
	if !isText {
		n, err := intOr(v[0], 4)
		if err != nil {
			return nil, err
		}
		if n > maxIndent {
			return nil, fmt.Errorf("an indentation of more than %d", maxIndent)
		}
		pad = strings.Repeat(" ", max(n, 0))
	}
	s, ok := in.(string)
	if !ok {
		return nil, fmt.Errorf("%s in place of text", typeName(in))
	}
	lines := 2 + strings.Count(s, "\n")
	for _, c := range s {
		if c != '\n' && isLineEnd(c) {
			lines++
		}
	}
	if err := r.takeTimes(len(pad)+16, lines); err != nil {
		return nil, err
	}
	return indent(s, pad, boolOr(v[1], false), boolOr(v[2], false)), r.take(2 * len(s))
}

func defaultFilter(_ *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	if _, u := in.(undefined); u || boolOr(v[1], false) && !truth(in) {
		if v[0] == (absent{}) {
			return "", nil
		}
		return v[0], nil
	}
	return in, nil
}

func lengthFilter(r *run, in any, a *Args) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	switch v := in.(type) {
	case string:
		return utf8.RuneCountInString(v), r.look(len(v))
	case *List:
		if v.lazy {
			return nil, errors.New("the result of a filter has no length before '| list'")
		}
		return len(v.items), nil
	case *Dict:
		if !v.space {
			return len(v.keys), nil
		}
	case undefined:
		return 0, nil
	}
	return nil, fmt.Errorf("%s has no length", typeName(in))
}

func absFilter(_ *run, in any, a *Args) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	n, isInt := number(in)
	switch {
	case n == nil:
		return nil, fmt.Errorf("%s in place of a number", typeName(in))
	case isInt && n.(int) < 0:
		return arithmetic("-", 0, n)
	case isInt:
		return n, nil
	}
	return math.Abs(n.(float64)), nil
}

// parseNumber reads text as Python's float does, near enough: hexadecimal
// forms and such are no numbers there.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil
}

func intFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "default", "base")
	if err != nil {
		return nil, err
	}
	if base, err := intOr(v[1], 10); err != nil || base != 10 {
		return nil, errors.New("only base 10 is supported")
	}
	otherwise := v[0]
	if otherwise == (absent{}) {
		otherwise = 0
	}
	switch in := in.(type) {
	case undefined:
		return nil, in.err()
	case string:
		if err := r.look(len(in)); err != nil {
			return nil, err
		}
		if n, err := strconv.Atoi(strings.TrimFunc(in, isSpace)); err == nil {
			return n, nil
		}
		if f, ok := parseNumber(in); ok && math.Abs(f) < 1<<63 {
			return int(f), nil
		}
		return otherwise, nil
	}
	n, isInt := number(in)
	switch {
	case n == nil:
		return otherwise, nil
	case isInt:
		return n, nil
	}
	if f := n.(float64); math.Abs(f) < 1<<63 {
		return int(f), nil
	}
	return otherwise, nil
}

func floatFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "default")
	if err != nil {
		return nil, err
	}
	otherwise := v[0]
	if otherwise == (absent{}) {
		otherwise = 0.0
	}
	switch in := in.(type) {
	case undefined:
		return nil, in.err()
	case string:
		if err := r.look(len(in)); err != nil {
			return nil, err
		}
		if f, ok := parseNumber(in); ok {
			return f, nil
		}
		return otherwise, nil
	}
	if n, _ := number(in); n != nil {
		return toFloat(n), nil
	}
	return otherwise, nil
}

func roundFilter(_ *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "precision", "method")
	if err != nil {
		return nil, err
	}
	digits, err := intOr(v[0], 0)
	if err != nil {
		return nil, err
	}
	how, err := textOr(v[1], "common")
	if err != nil {
		return nil, err
	}
	n, isInt := number(in)
	if n == nil {
		return nil, fmt.Errorf("%s in place of a number", typeName(in))
	}
	if digits < 0 || digits > 15 {
		return nil, errors.New("a precision that is not 0 to 15")
	}
	f, scale := toFloat(n), math.Pow10(digits)
	switch how {
	case "common":
		if isInt {
			return n, nil
		}
		// Python rounds the exact decimal value, half to even, and so does this.
		f, err = strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
		return f, err
	case "floor":
		return math.Floor(f*scale) / scale, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	}
	return nil, fmt.Errorf("unknown method '%s'", how)
}
