package jinja

import (
	"errors"
	"strings"
)

type forStmt struct {
	line    int
	targets []string
	list    expr
	cond    expr // or nil
	body    []stmt
	empty   []stmt // {% else %}
}

func (f *forStmt) exec(r *run, s *scope, out *strings.Builder) error {
	items, err := f.items(r, s)
	if err != nil {
		return at(f.line, err)
	}
	if len(items) == 0 {
		return r.exec(f.empty, s.inner(), out)
	}
	l := &loop{items: items, depth: 1}
	if outer, ok := s.get("loop"); ok {
		if d, ok := outer.(*loop); ok {
			l.depth = d.depth + 1
		}
	}
	for i, item := range items {
		l.i = i
		in := s.inner()
		in.set("loop", l)
		if err := r.bindTargets(in, f.targets, item); err != nil {
			return at(f.line, err)
		}
		switch err := r.exec(f.body, in, out); {
		case err == nil, errors.Is(err, errContinue):
		case errors.Is(err, errBreak):
			return nil
		default:
			return err
		}
	}
	return nil
}

// items evaluates the list and filters it by the condition.
func (f *forStmt) items(r *run, s *scope) ([]any, error) {
	v, err := r.eval(f.list, s)
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v)
	if err != nil || f.cond == nil {
		return items, err
	}
	var kept []any
	for _, item := range items {
		in := s.inner()
		if err := r.bindTargets(in, f.targets, item); err != nil {
			return nil, err
		}
		ok, err := r.eval(f.cond, in)
		if err != nil {
			return nil, err
		}
		if truth(ok) {
			kept = append(kept, item)
		}
	}
	return kept, r.take(16 * len(kept))
}

// loop is the variable of that name inside {% for %}.
type loop struct {
	items   []any
	i       int
	depth   int
	changed []any // what loop.changed saw last
}

func (l *loop) attribute(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return l.i + 1, true
	case "index0":
		return l.i, true
	case "revindex":
		return n - l.i, true
	case "revindex0":
		return n - l.i - 1, true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return n, true
	case "depth":
		return l.depth, true
	case "depth0":
		return l.depth - 1, true
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1], true
		}
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1], true
		}
	case "cycle":
		return Func(l.cycle), true
	case "changed":
		return Func(l.differs), true
	}
	return nil, false
}

func (l *loop) cycle(a *Args) (any, error) {
	if len(a.List) == 0 {
		return nil, errors.New("loop.cycle without values")
	}
	return a.List[l.i%len(a.List)], nil
}

func (l *loop) differs(a *Args) (any, error) {
	eq, err := a.run.equal(&List{items: l.changed}, &List{items: a.List})
	same := eq && l.changed != nil
	l.changed = a.List
	return !same, err
}
