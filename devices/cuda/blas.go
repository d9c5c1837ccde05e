package cuda

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/cublaslt"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// cuBLASLt is the feature of a GPU whose machine has that library, in which a
// trial on the GPU went well.
const cuBLASLt devices.Feature = "cuBLASLt"

// blas is cuBLASLt on one GPU. It is opened when it is first asked for: only
// training has use for it, and the library is large.
type blas struct {
	d *Device

	once   sync.Once
	lib    *cublaslt.Library
	handle *cublaslt.Handle
	stream driver.Stream // for trials
	err    error         // why it is not used

	mu    sync.Mutex // guards what follows
	plans map[cublaslt.Product]blasPlan
}

// blasPlan is the library's choice for a product, or why there is none.
type blasPlan struct {
	*cublaslt.Plan
	err error
}

// open returns nil once the library has multiplied on this GPU, or why it is not
// used.
func (b *blas) open() error {
	b.once.Do(func() {
		if b.d.api == nil {
			b.err = errors.New("there is no GPU to try it on")
			return
		}
		if b.lib, b.err = cublaslt.Load(); b.err != nil {
			return
		}
		err := b.d.with(func() (err error) {
			if b.handle, err = b.lib.New(); err != nil {
				return err
			}
			if b.stream, err = b.d.api.NewStream(); err != nil {
				return err
			}
			return b.trial()
		})
		if err != nil {
			b.err = fmt.Errorf("%s: %w", b.lib, err)
		}
	})
	return b.err
}

func (b *blas) close() error {
	b.once.Do(func() { b.err = errors.New("the device is closed") })
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, p := range b.plans {
		if p.Plan != nil {
			errs = append(errs, p.Close())
		}
	}
	if b.stream != 0 {
		errs = append(errs, b.d.api.DestroyStream(b.stream))
	}
	if b.handle != nil {
		errs = append(errs, b.handle.Close())
	}
	return errors.Join(errs...)
}

// about is one line for people.
func (b *blas) about() string {
	if err := b.open(); err != nil {
		return "dense products by own kernels alone: " + oneLine(err)
	}
	return fmt.Sprintf("dense products of %d rows or more by %s", fewRows, b.lib)
}

// oneLine is an error of several ones for a line of a table.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fewRows is below which a product is left to kernels whose rows do not depend
// on each other; the library's do, as it chooses by size how to add.
const fewRows = 64

// product describes a call for the library.
func (b *blas) product(c *devices.Call) (cublaslt.Product, error) {
	p := newDense(c)
	q := cublaslt.Product{M: p.m, N: p.n, K: p.k, TA: p.TA, TB: p.TB}
	types := map[graph.DType]cublaslt.Type{graph.F32: cublaslt.F32, graph.BF16: cublaslt.BF16}
	var ok [3]bool
	q.AB, ok[0] = types[c.In[0].Elem]
	_, ok[1] = types[c.In[1].Elem]
	q.Y, ok[2] = types[c.Out[0].Elem]
	switch {
	case ok != [3]bool{true, true, true} || c.In[0].Elem != c.In[1].Elem || c.In[0].Elem == graph.F32 && c.Out[0].Elem != graph.F32:
		return q, fmt.Errorf("not for %s times %s giving %s", c.In[0].Elem, c.In[1].Elem, c.Out[0].Elem)
	case p.m < fewRows:
		return q, fmt.Errorf("fewer than %d rows", fewRows)
	case p.n == 0 || p.k == 0 || p.m >= 1<<31 || p.n >= 1<<31 || p.k >= 1<<31:
		return q, errors.New("not for these extents")
	}
	return q, nil
}

// plan is the library's choice for a product, made and tried once. The library
// chooses by the product, the GPU and its version alone, so a program that is
// made again computes the same bits.
func (b *blas) plan(p cublaslt.Product) (*cublaslt.Plan, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if plan, ok := b.plans[p]; ok {
		return plan.Plan, plan.err
	}
	var plan blasPlan
	plan.err = b.d.with(func() (err error) {
		if plan.Plan, err = b.handle.Plan(p); err != nil {
			return err
		}
		if err = b.record(plan.Plan); err != nil {
			err = errors.Join(err, plan.Close())
			plan.Plan = nil
		}
		return err
	})
	b.plans[p] = plan
	return plan.Plan, plan.err
}

func (b *blas) kernel() devices.Kernel {
	// Multiply-adds of a multiprocessor in a nanosecond.
	rate := map[graph.DType]float64{graph.F32: 180, graph.BF16: 1100}
	if b.d.info.SM >= 90 {
		rate[graph.BF16] = 2300
	}
	planned := func(c *devices.Call) (*cublaslt.Plan, error) {
		p, err := b.product(c)
		if err != nil {
			return nil, err
		}
		return b.plan(p)
	}
	return devices.Kernel{
		Name: "matmul.cublaslt", Op: ops.MatMulOp.OpDef, Needs: []devices.Feature{"sm_80", cuBLASLt}, BF16: true,
		Accept: func(c *devices.Call) error {
			_, err := planned(c)
			return err
		},
		Scratch: func(c *devices.Call) int {
			plan, err := planned(c)
			if err != nil {
				return 0 // Bind says why
			}
			if n := plan.Workspace(); n > 0 {
				return n + cublaslt.WorkspaceAlign
			}
			return 0
		},
		Cost: func(c *devices.Call) float64 {
			p := newDense(c)
			work := float64(p.m) * float64(p.n) * float64(p.k) / rate[c.In[0].Elem] / float64(b.d.info.Multiprocessors)
			return max(b.d.memoryCost(c), 2*launchCost+work)
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			plan, err := planned(c)
			if err != nil {
				return nil, err
			}
			w := &blasWork{d: b.d, plan: plan}
			for i, o := range []devices.Operand{c.In[0], c.In[1], c.Out[0]} {
				if w.at[i], err = b.d.span(o.Buf, o.Off, b.d.bytes(o)); err != nil {
					return nil, err
				}
			}
			if n := plan.Workspace(); n > 0 {
				const align = cublaslt.WorkspaceAlign
				if w.at[3], err = b.d.span(c.Scratch.Buf, c.Scratch.Off, n+align); err != nil {
					return nil, err
				}
				w.at[3] = (w.at[3] + align - 1) / align * align
			}
			return w, nil
		},
	}
}

// blasWork is a bound product of the library.
type blasWork struct {
	d    *Device
	plan *cublaslt.Plan
	at   [4]driver.Ptr // a, b, y, workspace
}

func (w *blasWork) device() *Device { return w.d }

func (w *blasWork) enqueue(s driver.Stream) error {
	return w.plan.Run(w.at[0], w.at[1], w.at[2], w.at[3], s)
}
