package conformance

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/ternary"
)

// add is a correct kernel that broken ones are made of.
func add(body func(a, b, y []float32)) devices.Kernel {
	return devices.Kernel{Name: "add", Op: ops.AddOp.OpDef,
		Accept: func(c *devices.Call) error {
			if len(c.In[1].Dims) == 0 {
				return errScalar
			}
			return nil
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			a, b, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
			return host.Serial(c, func() { body(a, b, y) }), nil
		}}
}

type scalarError struct{}

func (scalarError) Error() string { return "scalars are not for this kernel" }

var errScalar = scalarError{}

func good(a, b, y []float32) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// beyond reads or writes n elements past the slice, as assembly can.
func beyond(s []float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(&s[0]), 4*(len(s)+n)))
}

var sink float32

func matmulTernary(sum func(q, t []int8, rows int) int32) devices.Kernel {
	return devices.Kernel{Name: "ternary", Op: ternary.MatMulOp.OpDef, Bind: func(c *devices.Call) (devices.Launch, error) {
		q, t, y := host.I8(c.In[0]), host.I8(c.In[1]), host.I32(c.Out[0])
		k, n, rows := c.In[0].Last(), c.Out[0].Last(), c.In[0].Rows()
		return host.Serial(c, func() {
			for i := range y {
				r, j := i/n, i%n
				y[i] = sum(q[r*k:(r+1)*k], t[j*k:(j+1)*k], rows)
			}
		}), nil
	}}
}

func exactSum(q, t []int8, _ int) int32 {
	var s int32
	for i := range q {
		s += int32(q[i]) * int32(t[i])
	}
	return s
}

// norm is rmsnorm with a choice of how the squares are added.
func norm(order string, sum func(x []float32, rows int) float32) devices.Kernel {
	return devices.Kernel{Name: "norm." + order, Order: order, Op: ops.RMSNormOp.OpDef, Bind: func(c *devices.Call) (devices.Launch, error) {
		x, g, y := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0])
		d, rows := c.In[0].Last(), c.In[0].Rows()
		eps := c.Attrs.(ops.NormAttrs).Eps
		return host.Serial(c, func() {
			for r := range rows {
				s := float32(1 / math.Sqrt(float64(sum(x[r*d:(r+1)*d], rows))/float64(d)+eps))
				for i := range d {
					y[r*d+i] = g[i] * (x[r*d+i] * s)
				}
			}
		}), nil
	}}
}

func forward(x []float32, _ int) (s float32) {
	for _, v := range x {
		s += v * v
	}
	return s
}

func backward(x []float32, _ int) (s float32) {
	for i := len(x) - 1; i >= 0; i-- {
		s += x[i] * x[i]
	}
	return s
}

// TestBrokenKernelsAreCaught runs kernels with one mistake each.
func TestBrokenKernelsAreCaught(t *testing.T) {
	inPlace := add(func(a, b, y []float32) {
		clear(y)
		good(a, b, y)
	})
	inPlace.InPlace = []graph.Update{{}}
	scratch := add(good)
	scratch.Scratch = func(c *devices.Call) int { return c.In[0].Bytes() }
	scratch.Bind = func(c *devices.Call) (devices.Launch, error) {
		a, b, y, s := host.F32(c.In[0]), host.F32(c.In[1]), host.F32(c.Out[0]), host.U8(c.Scratch)
		return host.Serial(c, func() {
			good(a, b, y)
			y[0] += float32(s[0]) // counts on zeroed scratch
		}), nil
	}
	fussy := add(good)
	fussy.Accept = func(*devices.Call) error { return errScalar }
	for _, tc := range []struct {
		name   string
		kernel devices.Kernel
		others []devices.Kernel
		want   string // in the error; "" for none
	}{
		{"add, correct", add(good), nil, ""},
		{"writes behind the result", add(func(a, b, y []float32) { good(a, b, y); *beyond(y, 0) = 1 }), nil, "written"},
		{"writes before the result", add(func(a, b, y []float32) { good(a, b, y); *beyond(y, -len(y)-1) = 1 }), nil, "written"},
		{"writes far behind the result", add(func(a, b, y []float32) { good(a, b, y); *beyond(y, 600) = 1 }), nil, "touched memory"},
		{"reads behind an operand", add(func(a, b, y []float32) { good(a, b, y); sink = *beyond(b, 0) }), nil, "touched memory"},
		{"reads before an operand", add(func(a, b, y []float32) { good(a, b, y); sink = *beyond(a, -len(a)-1) }), nil, "touched memory"},
		{"writes an operand", add(func(a, b, y []float32) { good(a, b, y); b[0] = 0 }), nil, "no result"},
		{"adds to the result", add(func(a, b, y []float32) {
			for i := range y {
				y[i] += a[i] + b[i]
			}
		}), nil, "times the tolerance"},
		{"forgets the tail", add(func(a, b, y []float32) { good(a[:len(a)&^7], b, y[:len(y)&^7]) }), nil, "times the tolerance"},
		{"is not safe in place", inPlace, nil, "in the place of operand"},
		{"counts on zeroed scratch", scratch, nil, "times the tolerance"},
		{"panics", add(func(a, b, y []float32) { _ = a[len(a)+len(b)] }), nil, "out of range"},
		{"accepts nothing", fussy, nil, "none of"},

		{"ternary, correct", matmulTernary(exactSum), nil, ""},
		{"overflows 16 bits", matmulTernary(func(q, t []int8, _ int) int32 { return int32(int16(exactSum(q, t, 1))) }), nil, "want"},
		{"takes -128 for -127", matmulTernary(func(q, t []int8, _ int) int32 {
			s := exactSum(q, t, 1)
			for i := range q {
				if q[i] == -128 {
					s += int32(t[i])
				}
			}
			return s
		}), nil, "want"},

		{"norm, correct", norm("forward", forward), nil, ""},
		{"two orders under two names", norm("forward", forward), []devices.Kernel{norm("backward", backward)}, ""},
		{"two orders under one name", norm("forward", forward), []devices.Kernel{norm("forward", backward)}, "other bits than among"},
		{"the order depends on the rows", norm("either", func(x []float32, rows int) float32 {
			if rows > 1 {
				return backward(x, rows)
			}
			return forward(x, rows)
		}), nil, "other bits than among"},
	} {
		if !guards && strings.Contains(tc.want, "touched") {
			continue
		}
		dev := host.New(host.Config{Name: "broken", Kernels: append([]devices.Kernel{tc.kernel}, tc.others...), Threads: 1})
		s, err := newSuite(dev, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = s.every(tc.kernel, tc.kernel.Op)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
		if err := errors.Join(s.bench.close(), dev.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestTolerance(t *testing.T) {
	f := func(vals ...float32) graph.Tensor { return graph.FromF32(vals, len(vals)) }
	i := func(vals ...int8) graph.Tensor { return graph.FromI8(vals, len(vals)) }
	nan := float32(0)
	nan /= nan
	for _, tc := range []struct {
		got, want graph.Tensor
		tol       Tolerance
		ok        bool
	}{
		{f(1, 2), f(1, 2), Tolerance{}, true},
		{f(1, 2.5), f(1, 2), Tolerance{}, false},
		{f(0.09, 100), f(0, 100), Tolerance{Rel: 1e-3}, true},
		{f(0.2, 100), f(0, 100), Tolerance{Rel: 1e-3}, false},
		{f(0.1, 100), f(0, 100), Tolerance{Each: 1e-3}, false},
		{f(0, 100.05), f(0, 100), Tolerance{Each: 1e-3}, true},
		{f(nan, 1), f(1, 1), Tolerance{Rel: 1, Abs: 1}, false},
		{f(1, 1), f(nan, 1), Tolerance{Rel: 1, Abs: 1}, false},
		{f(nan, 1), f(nan, 1), Tolerance{}, true},
		{i(1, 2, 3), i(1, 2, 3), Tolerance{}, true},
		{i(1, 2, 4), i(1, 2, 3), Tolerance{}, false},
		{i(1, 2, 4), i(1, 2, 3), Tolerance{Codes: 0.1}, true},
		{i(1, 2, 5), i(1, 2, 3), Tolerance{Codes: 0.1}, false},
		{i(2, 3, 4), i(1, 2, 3), Tolerance{Codes: 0.1}, false},
	} {
		if err := compare(tc.got, tc.want, tc.tol); (err == nil) != tc.ok {
			t.Errorf("%v against %v with %+v: %v", tc.got.Data, tc.want.Data, tc.tol, err)
		}
	}
}
