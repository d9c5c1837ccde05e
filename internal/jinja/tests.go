package jinja

type testFunc func(r *run, in any, a *Args) (bool, error)

var tests = makeTests()

func makeTests() map[string]testFunc {
	// is makes a test without arguments.
	is := func(f func(v any) bool) testFunc {
		return func(_ *run, in any, a *Args) (bool, error) {
			_, err := a.bind(0)
			return err == nil && f(in), err
		}
	}
	compare := func(op string) testFunc {
		return func(r *run, in any, a *Args) (bool, error) {
			v, err := a.bind(1, "other")
			if err != nil {
				return false, err
			}
			return r.compare(op, in, v[0])
		}
	}
	parity := func(rest any) testFunc {
		return func(r *run, in any, a *Args) (bool, error) {
			if _, err := a.bind(0); err != nil {
				return false, err
			}
			return r.remainder(in, 2, rest)
		}
	}
	inCase := func(lower bool) testFunc {
		return func(r *run, in any, a *Args) (bool, error) {
			s, err := r.str(in)
			return cased(s, lower), err
		}
	}
	t := map[string]testFunc{
		"defined":   is(func(v any) bool { _, u := v.(undefined); return !u }),
		"undefined": is(func(v any) bool { _, u := v.(undefined); return u }),
		"none":      is(func(v any) bool { return v == nil }),
		"boolean":   is(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":      is(func(v any) bool { b, ok := v.(bool); return ok && b }),
		"false":     is(func(v any) bool { b, ok := v.(bool); return ok && !b }),
		"integer":   is(func(v any) bool { _, ok := v.(int); return ok }),
		"float":     is(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":    is(func(v any) bool { n, _ := number(v); return n != nil }),
		"string":    is(func(v any) bool { _, ok := v.(string); return ok }),
		"mapping":   is(func(v any) bool { d, ok := v.(*Dict); return ok && !d.space }),
		"callable":  is(callable),
		"sequence": is(func(v any) bool {
			l, list := v.(*List)
			return list && !l.lazy || !list && hasElements(v)
		}),
		"iterable":    is(hasElements),
		"even":        parity(0),
		"odd":         parity(1),
		"lower":       inCase(true),
		"upper":       inCase(false),
		"in":          compare("in"),
		"sameas":      sameAs,
		"divisibleby": divisibleBy,
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"}, "!=": {"!=", "ne"},
		"<": {"<", "lt", "lessthan"}, "<=": {"<=", "le"}, ">": {">", "gt", "greaterthan"}, ">=": {">=", "ge"},
	} {
		for _, name := range names {
			t[name] = compare(op)
		}
	}
	return t
}

func hasElements(v any) bool {
	switch v := v.(type) {
	case string, *List, undefined:
		return true
	case *Dict:
		return !v.space
	}
	return false
}

// sameAs is identity, which for what is not a list or map is equality of type
// and value.
func sameAs(_ *run, in any, a *Args) (bool, error) {
	v, err := a.bind(1, "other")
	if err != nil {
		return false, err
	}
	switch in.(type) {
	case Func:
		return false, nil
	}
	if _, ok := v[0].(Func); ok {
		return false, nil
	}
	return in == v[0], nil
}

func divisibleBy(r *run, in any, a *Args) (bool, error) {
	v, err := a.bind(1, "num")
	if err != nil {
		return false, err
	}
	return r.remainder(in, v[0], 0)
}

func (r *run) remainder(v, by, want any) (bool, error) {
	rest, err := r.operate("%", v, by)
	if err != nil {
		return false, err
	}
	return r.equal(rest, want)
}

// callable is true for undefined values too, which exist to fail when called.
func callable(v any) bool {
	switch v.(type) {
	case Func, undefined:
		return true
	}
	return false
}
