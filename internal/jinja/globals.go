package jinja

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// globals are the functions of every template.
var globals = map[string]any{
	"range": Func(rangeFunc),
	"dict":  Func(func(a *Args) (any, error) { return makeDict(a, false) }),
	"namespace": Func(func(a *Args) (any, error) {
		return makeDict(a, true)
	}),
	"raise_exception": Func(func(a *Args) (any, error) {
		message := ""
		if len(a.List) > 0 {
			var err error
			if message, err = a.run.str(a.List[0]); err != nil {
				return nil, err
			}
		}
		return nil, &Raised{message}
	}),
}

// makeDict is dict(…) and namespace(…). Named arguments come in the order of
// their names: the order of the call is not kept.
func makeDict(a *Args, space bool) (*Dict, error) {
	d := &Dict{space: space}
	if len(a.List) > 1 {
		return nil, errors.New("takes one map and named values")
	}
	for _, v := range a.List {
		from, ok := v.(*Dict)
		if !ok {
			return nil, fmt.Errorf("%s in place of a map", typeName(v))
		}
		for _, k := range from.keys {
			d.set(k, from.items[normal(k)])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Named)) {
		d.set(name, a.Named[name])
	}
	return d, a.run.take(64 * len(d.keys))
}

func rangeFunc(a *Args) (any, error) {
	if len(a.List) < 1 || len(a.List) > 3 || len(a.Named) > 0 {
		return nil, errors.New("range takes one to three integers")
	}
	n := [3]int{2: 1}
	for i, v := range a.List {
		k, isInt := number(v)
		if !isInt {
			return nil, fmt.Errorf("range of %s", typeName(v))
		}
		n[i] = k.(int)
	}
	start, stop, by := n[0], n[1], n[2]
	if len(a.List) == 1 {
		start, stop = 0, n[0]
	}
	if by == 0 {
		return nil, errors.New("range with a step of 0")
	}
	l := &List{}
	for i := start; by > 0 && i < stop || by < 0 && i > stop; {
		if err := a.run.take(32); err != nil {
			return nil, err
		}
		l.items = append(l.items, i)
		next := i + by
		if by > 0 != (next > i) {
			break // overflow
		}
		i = next
	}
	return l, nil
}
