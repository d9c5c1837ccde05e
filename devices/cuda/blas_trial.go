package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/trit-ml/trit/devices/cuda/internal/cublaslt"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/graph"
)

// trial multiplies small matrices of whole numbers with the library, in a captured
// graph as programs do, in the forms that training uses, and compares every
// element. The device's context is current.
func (b *blas) trial() error {
	for _, p := range []cublaslt.Product{
		{M: 128, N: 96, K: 160, TB: true, AB: cublaslt.BF16, Y: cublaslt.BF16},
		{M: 128, N: 96, K: 160, AB: cublaslt.BF16, Y: cublaslt.BF16},
		{M: 96, N: 128, K: 160, TA: true, AB: cublaslt.BF16, Y: cublaslt.F32},
		{M: 128, N: 96, K: 160, TB: true, AB: cublaslt.F32, Y: cublaslt.F32},
	} {
		plan, err := b.handle.Plan(p)
		if err != nil {
			return fmt.Errorf("on trial: %w", err)
		}
		if err := errors.Join(b.multiply(plan, p), plan.Close()); err != nil {
			return fmt.Errorf("on trial: %w", err)
		}
	}
	return nil
}

// multiply computes p once and compares.
func (b *blas) multiply(plan *cublaslt.Plan, p cublaslt.Product) error {
	// Of -1, 0 and 1, so that sums are whole numbers below 256, exact in bf16.
	at := func(i, step int) int { return i*step/7%3 - 1 }
	av, bv := make([]float32, p.M*p.K), make([]float32, p.K*p.N)
	y, want := make([]byte, 4*p.M*p.N), make([]float32, p.M*p.N)
	for i := range p.M {
		for k := range p.K {
			j := i*p.K + k
			if p.TA {
				j = k*p.M + i
			}
			av[j] = float32(at(i*p.K+k, 11))
		}
	}
	for k := range p.K {
		for n := range p.N {
			j := k*p.N + n
			if p.TB {
				j = n*p.K + k
			}
			bv[j] = float32(at(k*p.N+n, 13))
		}
	}
	for i := range p.M {
		for n := range p.N {
			sum := 0
			for k := range p.K {
				sum += at(i*p.K+k, 11) * at(k*p.N+n, 13)
			}
			want[i*p.N+n] = float32(sum)
		}
	}
	api, s := b.d.api, b.stream
	work := max(plan.Workspace(), 1)
	return b.allocated([]int{4 * len(av), 4 * len(bv), len(y), work}, func(at []driver.Ptr) error {
		err := errors.Join(api.CopyIn(at[0], elements(av, p.AB), s), api.CopyIn(at[1], elements(bv, p.AB), s), api.StreamSync(s))
		if err != nil {
			return err
		}
		g, err := b.captured(plan, at)
		if err == nil {
			var exec driver.GraphExec
			if exec, err = api.Instantiate(g); err == nil {
				err = errors.Join(api.LaunchGraph(exec, s), api.StreamSync(s), api.DestroyExec(exec))
			}
		}
		if g != 0 {
			err = errors.Join(err, api.DestroyGraph(g))
		}
		if err == nil {
			err = errors.Join(api.CopyOut(y, at[2], s), api.StreamSync(s))
		}
		if err != nil {
			return err
		}
		for i, w := range elements(want, p.Y) {
			if y[i] != w {
				return fmt.Errorf("a product of %d×%d×%d is wrong", p.M, p.N, p.K)
			}
		}
		return nil
	})
}

// elements are the bytes of whole numbers in an element type.
func elements(v []float32, t cublaslt.Type) []byte {
	if t == cublaslt.F32 {
		return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
	}
	narrow := make([]uint16, len(v))
	for i, x := range v {
		narrow[i] = graph.F32ToBF16(x)
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&narrow[0])), 2*len(narrow))
}

// record captures a product and drops it. So a choice that the library will not
// run is known before a program relies on it, with no memory for its matrices. The
// device's context is current.
func (b *blas) record(plan *cublaslt.Plan) error {
	const each = 1 << 10 // never read: only addresses are recorded
	return b.allocated([]int{each, each, each, each}, func(at []driver.Ptr) error {
		g, err := b.captured(plan, at)
		if g != 0 {
			err = errors.Join(err, b.d.api.DestroyGraph(g))
		}
		return err
	})
}

// captured is a graph of one product. Also beside an error there may be a graph to
// destroy.
func (b *blas) captured(plan *cublaslt.Plan, at []driver.Ptr) (driver.Graph, error) {
	api := b.d.api
	if err := api.BeginCapture(b.stream); err != nil {
		return 0, err
	}
	err := plan.Run(at[0], at[1], at[2], at[3], b.stream)
	g, end := api.EndCapture(b.stream)
	if err != nil {
		end = nil // a capture that a failed call has spoilt
	}
	return g, errors.Join(err, end)
}

// allocated runs f on device memory of the given sizes.
func (b *blas) allocated(bytes []int, f func([]driver.Ptr) error) (err error) {
	api := b.d.api
	at := make([]driver.Ptr, len(bytes))
	for i, n := range bytes {
		if at[i], err = api.MemAlloc(n); err != nil {
			break
		}
	}
	if err == nil {
		err = f(at)
	}
	for _, p := range at {
		if p != 0 {
			err = errors.Join(err, api.MemFree(p))
		}
	}
	return err
}
