package jinja

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// number returns an int or float64 for what Python counts as a number,
// booleans included, and nil for anything else.
func number(v any) (n any, isInt bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return v, true
	case float64:
		return v, false
	}
	return nil, false
}

func toFloat(n any) float64 {
	if i, ok := n.(int); ok {
		return float64(i)
	}
	return n.(float64)
}

// operate applies + - * / // % ** ~.
func (r *run) operate(op string, left, right any) (any, error) {
	if op == "~" {
		return r.concat(left, right)
	}
	if _, ok := left.(string); ok && op == "%" {
		return nil, fmt.Errorf("text %% %s: formatting is not supported in chat templates", typeName(right))
	}
	for _, v := range []any{left, right} {
		if u, ok := v.(undefined); ok {
			return nil, u.err()
		}
	}
	x, xInt := number(left)
	y, yInt := number(right)
	switch {
	case xInt && yInt:
		return arithmetic(op, x.(int), y)
	case x != nil && y != nil:
		return floating(op, toFloat(x), toFloat(y))
	}
	if op == "*" && xInt {
		left, right, y, yInt = right, left, x, true // 3 * 'ab'
	}
	if op == "*" && yInt {
		return r.repeat(left, y.(int))
	}
	switch l := left.(type) {
	case string:
		if s, ok := right.(string); ok && op == "+" {
			if err := r.take(len(l) + len(s)); err != nil {
				return nil, err
			}
			return l + s, nil
		}
	case *List:
		if m, ok := right.(*List); ok && op == "+" && l.tuple == m.tuple {
			if err := r.take(16 * (len(l.items) + len(m.items))); err != nil {
				return nil, err
			}
			items := append(append(make([]any, 0, len(l.items)+len(m.items)), l.items...), m.items...)
			return &List{items: items, tuple: l.tuple}, nil
		}
	}
	return nil, fmt.Errorf("%s %s %s", typeName(left), op, typeName(right))
}

func (r *run) repeat(v any, n int) (any, error) {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		if err := r.takeTimes(len(v), n); err != nil {
			return nil, err
		}
		return strings.Repeat(v, n), nil
	case *List:
		if err := r.takeTimes(16*len(v.items), n); err != nil {
			return nil, err
		}
		return &List{items: slices.Repeat(v.items, n), tuple: v.tuple}, nil
	}
	return nil, fmt.Errorf("%s * a number", typeName(v))
}

// takeTimes is take for a product that may overflow.
func (r *run) takeTimes(n, times int) error {
	high, low := bits.Mul64(uint64(n), uint64(times))
	if high != 0 || low > math.MaxInt64/2 {
		return r.take(-1)
	}
	return r.take(int(low))
}

func (r *run) concat(left, right any) (any, error) {
	n, err := size(r, left)
	if err != nil {
		return nil, err
	}
	m, err := size(r, right)
	if err != nil {
		return nil, err
	}
	if err := r.take(n + m); err != nil {
		return nil, err
	}
	return toStr(left) + toStr(right), nil
}

// str is toStr within the limits.
func (r *run) str(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	n, err := size(r, v)
	if err != nil {
		return "", err
	}
	if err := r.take(n); err != nil {
		return "", err
	}
	return toStr(v), nil
}

var errInteger = fmt.Errorf("an integer of more than 64 bits")

// arithmetic is Python's on integers; y is an int.
func arithmetic(op string, x int, y any) (any, error) {
	b := y.(int)
	switch op {
	case "+":
		if sum := x + b; (sum > x) == (b > 0) {
			return sum, nil
		}
		return nil, errInteger
	case "-":
		if diff := x - b; (diff < x) == (b > 0) {
			return diff, nil
		}
		return nil, errInteger
	case "*":
		if p := x * b; x == 0 || p/x == b && !(x == -1 && b == math.MinInt) {
			return p, nil
		}
		return nil, errInteger
	case "**":
		return power(x, b)
	}
	if b == 0 {
		return nil, fmt.Errorf("a division by zero")
	}
	switch op {
	case "/":
		return float64(x) / float64(b), nil
	case "//":
		if x == math.MinInt && b == -1 {
			return nil, errInteger
		}
		q := x / b
		if x%b != 0 && (x < 0) != (b < 0) {
			q--
		}
		return q, nil
	default: // %
		m := x % b
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m, nil
	}
}

func power(x, n int) (any, error) {
	if n < 0 {
		return floating("**", float64(x), float64(n))
	}
	if x == 0 || x == 1 || x == -1 {
		n = min(n, 2+n%2) // the same value, without the loop
	}
	p := 1
	for range n {
		v, err := arithmetic("*", p, x)
		if err != nil {
			return nil, err
		}
		p = v.(int)
	}
	return p, nil
}

func floating(op string, x, y float64) (any, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "**":
		p := math.Pow(x, y)
		if math.IsNaN(p) || math.IsInf(p, 0) {
			return nil, fmt.Errorf("%v ** %v is no number", x, y)
		}
		return p, nil
	}
	if y == 0 {
		return nil, fmt.Errorf("a division by zero")
	}
	switch op {
	case "/":
		return x / y, nil
	case "//":
		return math.Floor(x / y), nil
	default: // %
		m := math.Mod(x, y)
		if m != 0 && (m < 0) != (y < 0) {
			m += y
		}
		return m, nil
	}
}

// compare applies == != < <= > >= in and not in.
func (r *run) compare(op string, left, right any) (bool, error) {
	switch op {
	case "==", "!=":
		eq, err := r.equal(left, right)
		return eq == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(right, left)
		return in == (op == "in"), err
	}
	c, err := r.order(left, right)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

func (r *run) equal(x, y any) (bool, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return false, err
	}
	if a, aInt := number(x); a != nil {
		b, bInt := number(y)
		switch {
		case b == nil:
			return false, nil
		case aInt && bInt:
			return a == b, nil
		}
		return toFloat(a) == toFloat(b), nil
	}
	switch x := x.(type) {
	case nil:
		return y == nil, nil
	case undefined:
		_, ok := y.(undefined)
		return ok, nil
	case string:
		s, ok := y.(string)
		if !ok || len(s) != len(x) {
			return false, nil
		}
		return x == s, r.look(len(s))
	case *List:
		l, ok := y.(*List)
		if !ok || len(l.items) != len(x.items) || l.tuple != x.tuple {
			return false, nil
		}
		for i := range x.items {
			if eq, err := r.equal(x.items[i], l.items[i]); err != nil || !eq {
				return false, err
			}
		}
		return true, nil
	case *Dict:
		d, ok := y.(*Dict)
		if !ok || x.space || d.space || len(d.keys) != len(x.keys) {
			return ok && x == d, nil
		}
		for k, v := range x.items {
			w, ok := d.items[k]
			if !ok {
				return false, nil
			}
			if eq, err := r.equal(v, w); err != nil || !eq {
				return false, err
			}
		}
		return true, nil
	}
	return false, nil // functions
}

// order compares numbers, texts and lists.
func (r *run) order(x, y any) (int, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return 0, err
	}
	for _, v := range []any{x, y} {
		if u, ok := v.(undefined); ok {
			return 0, u.err()
		}
	}
	a, _ := number(x)
	b, _ := number(y)
	if a != nil && b != nil {
		if i, ok := a.(int); ok {
			if j, ok := b.(int); ok {
				return compareInts(i, j), nil
			}
		}
		f, g := toFloat(a), toFloat(b)
		switch {
		case f < g:
			return -1, nil
		case f > g:
			return 1, nil
		}
		return 0, nil
	}
	switch x := x.(type) {
	case string:
		if s, ok := y.(string); ok {
			return strings.Compare(x, s), r.look(min(len(x), len(s)))
		}
	case *List:
		l, ok := y.(*List)
		if !ok || l.tuple != x.tuple {
			break
		}
		for i := range min(len(x.items), len(l.items)) {
			eq, err := r.equal(x.items[i], l.items[i])
			if err != nil {
				return 0, err
			}
			if !eq {
				return r.order(x.items[i], l.items[i])
			}
		}
		return compareInts(len(x.items), len(l.items)), nil
	}
	return 0, fmt.Errorf("%s and %s have no order", typeName(x), typeName(y))
}

func compareInts(i, j int) int {
	switch {
	case i < j:
		return -1
	case i > j:
		return 1
	}
	return 0
}

func (r *run) contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			return false, fmt.Errorf("%s in text", typeName(v))
		}
		return strings.Contains(in, s), r.look(len(in))
	case *Dict:
		if !in.space {
			if !hashable(v) {
				return false, fmt.Errorf("%s as a key", typeName(v))
			}
			_, ok := in.get(v)
			return ok, nil
		}
	case *List:
		for _, e := range in.items {
			if eq, err := r.equal(e, v); err != nil || eq {
				return eq, err
			}
		}
		return false, nil
	case undefined:
		return false, nil
	}
	return false, fmt.Errorf("'in' %s", typeName(in))
}
