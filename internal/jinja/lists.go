package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The filters of lists. Those that are generators in Jinja2 give lazy lists.

func (r *run) end(in any, a *Args, last bool) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	switch {
	case len(items) == 0:
		return undefined{"the end of an empty list"}, nil
	case last:
		return items[len(items)-1], nil
	}
	return items[0], nil
}

func listFilter(r *run, in any, a *Args) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	return &List{items: items}, err
}

func reverseFilter(r *run, in any, a *Args) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	minus := -1
	if s, ok := in.(string); ok {
		return r.slice(s, [3]*int{2: &minus})
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	items, err = r.pick(items, [3]*int{2: &minus})
	return &List{items: items, lazy: true}, err
}

func joinFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "d", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	if items, err = r.attrs(items, v[1]); err != nil {
		return nil, err
	}
	sep := ""
	if v[0] != (absent{}) {
		if sep, err = r.str(v[0]); err != nil {
			return nil, err
		}
	}
	return r.join(items, sep)
}

// attrs replaces elements by an attribute of theirs, if one is given.
func (r *run) attrs(items []any, attribute any) ([]any, error) {
	if !given(attribute) {
		return items, nil
	}
	if err := r.take(16 * len(items)); err != nil {
		return nil, err
	}
	out := make([]any, len(items))
	for i, e := range items {
		var err error
		if out[i], err = r.attr(e, attribute); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func itemsFilter(r *run, in any, a *Args) (any, error) {
	if _, err := a.bind(0); err != nil {
		return nil, err
	}
	switch d := in.(type) {
	case *Dict:
		l, err := r.view(d, pair)
		if err == nil {
			l.lazy = true
		}
		return l, err
	case undefined:
		return &List{lazy: true}, nil
	}
	return nil, fmt.Errorf("%s in place of a map", typeName(in))
}

// mapFilter is map(attribute=…, default=…) and map('filter', arguments…).
func mapFilter(r *run, in any, a *Args) (any, error) {
	if !truth(in) {
		return &List{lazy: true}, nil // whatever it is
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	if err := r.take(16 * len(items)); err != nil {
		return nil, err
	}
	out := &List{items: make([]any, len(items)), lazy: true}
	if attribute, ok := a.Named["attribute"]; ok && len(a.List) == 0 {
		v, err := a.bind(0, "attribute", "default")
		if err != nil {
			return nil, err
		}
		for i, e := range items {
			got, err := r.attr(e, attribute)
			if err != nil {
				return nil, err
			}
			if _, u := got.(undefined); u && given(v[1]) {
				got = v[1]
			}
			out.items[i] = got
		}
		return out, nil
	}
	if len(a.List) == 0 {
		return nil, errors.New("needs a filter or attribute=")
	}
	name, ok := a.List[0].(string)
	if !ok {
		return nil, fmt.Errorf("%s in place of a filter's name", typeName(a.List[0]))
	}
	rest := &Args{List: a.List[1:], Named: a.Named, run: r}
	for i, e := range items {
		if err := r.enter(); err != nil {
			return nil, err
		}
		if out.items[i], err = r.filter(name, e, rest); err != nil {
			return nil, err
		}
		r.leave()
	}
	return out, nil
}

// pickBy is select, reject, selectattr and rejectattr.
func (r *run) pickBy(in any, a *Args, byAttr, keep bool) (any, error) {
	if !truth(in) {
		return &List{lazy: true}, nil // whatever it is
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	list := a.List
	var attribute any
	if byAttr {
		if len(list) == 0 {
			return nil, errors.New("needs the name of an attribute")
		}
		attribute, list = list[0], list[1:]
	}
	name := ""
	if len(list) > 0 {
		var ok bool
		if name, ok = list[0].(string); !ok {
			return nil, fmt.Errorf("%s in place of a test's name", typeName(list[0]))
		}
		list = list[1:]
	}
	rest := &Args{List: list, Named: a.Named, run: r}
	out := &List{lazy: true}
	for _, e := range items {
		if err := r.take(16); err != nil {
			return nil, err
		}
		v := e
		if byAttr {
			if v, err = r.attr(e, attribute); err != nil {
				return nil, err
			}
		}
		ok := truth(v)
		if name != "" {
			if ok, err = r.test(name, v, rest); err != nil {
				return nil, err
			}
		}
		if ok == keep {
			out.items = append(out.items, e)
		}
	}
	return out, nil
}

// fold is the case folding of sort, unique, min and max.
func fold(v any, caseSensitive bool) any {
	if s, ok := v.(string); ok && !caseSensitive {
		return strings.ToLower(s)
	}
	return v
}

// keyed returns elements with what they are compared by.
func (r *run) keyed(items []any, attribute any, caseSensitive bool) ([][2]any, error) {
	keys, err := r.attrs(items, attribute)
	if err != nil {
		return nil, err
	}
	out := make([][2]any, len(items))
	for i := range items {
		if s, ok := keys[i].(string); ok {
			if err := r.take(len(s)); err != nil {
				return nil, err
			}
		}
		out[i] = [2]any{fold(keys[i], caseSensitive), items[i]}
	}
	return out, r.take(32 * len(items))
}

// sorted sorts by the keys, keeping the order of equal ones.
func (r *run) sorted(list [][2]any, reverse bool) ([]any, error) {
	var failed error
	slices.SortStableFunc(list, func(x, y [2]any) int {
		if failed != nil {
			return 0
		}
		c, err := r.order(x[0], y[0])
		if failed = err; reverse {
			return -c
		}
		return c
	})
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = e[1]
	}
	return out, failed
}

func sortFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	list, err := r.keyed(items, v[2], boolOr(v[1], false))
	if err != nil {
		return nil, err
	}
	items, err = r.sorted(list, boolOr(v[0], false))
	return &List{items: items}, err
}

func dictsortFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	by, err := textOr(v[1], "key")
	if err != nil {
		return nil, err
	}
	d, ok := in.(*Dict)
	if !ok || d.space || by != "key" && by != "value" {
		return nil, errors.New("takes a map, and by='key' or by='value'")
	}
	pairs, err := r.view(d, pair)
	if err != nil {
		return nil, err
	}
	i := 0
	if by == "value" {
		i = 1
	}
	list, err := r.keyed(pairs.items, i, boolOr(v[0], false))
	if err != nil {
		return nil, err
	}
	items, err := r.sorted(list, boolOr(v[2], false))
	return &List{items: items}, err
}

func uniqueFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	list, err := r.keyed(items, v[1], boolOr(v[0], false))
	if err != nil {
		return nil, err
	}
	seen := &Dict{}
	out := &List{lazy: true}
	for _, e := range list {
		if !hashable(e[0]) {
			return nil, fmt.Errorf("%s among the elements", typeName(e[0]))
		}
		if _, ok := seen.get(e[0]); !ok {
			seen.set(e[0], nil)
			out.items = append(out.items, e[1])
		}
	}
	return out, r.take(64 * len(list))
}

func (r *run) extreme(in any, a *Args, want int) (any, error) {
	v, err := a.bind(0, "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	list, err := r.keyed(items, v[1], boolOr(v[0], false))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return undefined{"the extreme of an empty list"}, nil
	}
	best := list[0]
	for _, e := range list[1:] {
		c, err := r.order(e[0], best[0])
		if err != nil {
			return nil, err
		}
		if c == want {
			best = e
		}
	}
	return best[1], nil
}

func sumFilter(r *run, in any, a *Args) (any, error) {
	v, err := a.bind(0, "attribute", "start")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(in)
	if err != nil {
		return nil, err
	}
	if items, err = r.attrs(items, v[0]); err != nil {
		return nil, err
	}
	total := v[1]
	if total == (absent{}) {
		total = 0
	}
	if _, ok := total.(string); ok {
		return nil, errors.New("text cannot be summed; use join")
	}
	for _, e := range items {
		if total, err = r.operate("+", total, e); err != nil {
			return nil, err
		}
	}
	return total, nil
}
