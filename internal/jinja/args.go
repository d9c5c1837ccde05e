package jinja

import (
	"fmt"
	"slices"
)

// absent marks a parameter that a call does not give.
type absent struct{}

// bind sorts arguments by the names of parameters, of which the first required
// must be given.
func (a *Args) bind(required int, params ...string) ([]any, error) {
	if len(a.List) > len(params) {
		return nil, fmt.Errorf("takes at most %d arguments, not %d", len(params), len(a.List))
	}
	out := make([]any, len(params))
	for i := range out {
		out[i] = absent{}
	}
	copy(out, a.List)
	for name, v := range a.Named {
		i := slices.Index(params, name)
		switch {
		case i < 0:
			return nil, fmt.Errorf("has no argument '%s'", name)
		case i < len(a.List):
			return nil, fmt.Errorf("the argument '%s' is given twice", name)
		}
		out[i] = v
	}
	for i := range required {
		if out[i] == (absent{}) {
			return nil, fmt.Errorf("needs the argument '%s'", params[i])
		}
	}
	return out, nil
}

// The values of optional arguments; none counts as not given.

func given(v any) bool { return v != nil && v != (absent{}) }

func boolOr(v any, otherwise bool) bool {
	if !given(v) {
		return otherwise
	}
	return truth(v)
}

func intOr(v any, otherwise int) (int, error) {
	if !given(v) {
		return otherwise, nil
	}
	n, isInt := number(v)
	if !isInt {
		return 0, fmt.Errorf("%s in place of an integer", typeName(v))
	}
	return n.(int), nil
}

func textOr(v any, otherwise string) (string, error) {
	if !given(v) {
		return otherwise, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s in place of text", typeName(v))
	}
	return s, nil
}

// attr returns a part of a value by a path such as "function.name" or "0".
func (r *run) attr(v, path any) (any, error) {
	if n, isInt := number(path); isInt {
		return r.index(v, n)
	}
	p, ok := path.(string)
	if !ok {
		return nil, fmt.Errorf("%s in place of an attribute's name", typeName(path))
	}
	for _, name := range splitPath(p) {
		var err error
		if v, err = r.index(v, name); err != nil {
			return nil, err
		}
	}
	return v, nil
}
