package docs

import (
	"context"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/runtime"
)

// reluKernel is one row of a device's table.
func reluKernel() devices.Kernel {
	return devices.Kernel{
		Name: "relu2.go",
		Op:   ops.ReLU2Op.OpDef,
		Accept: func(c *devices.Call) error {
			if n := c.In[0].Len(); n > 1<<20 {
				return fmt.Errorf("%d elements; this kernel is for up to 2^20", n)
			}
			return nil
		},
		Cost:    func(c *devices.Call) float64 { return float64(c.In[0].Len()) },
		InPlace: []graph.Update{{In: 0, Out: 0}},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			x, y := host.F32(c.In[0]), host.F32(c.Out[0])
			return host.Chunks(c, len(x), 4096, func(from, to int) {
				for i := from; i < to; i++ {
					v := max(x[i], 0)
					y[i] = v * v
				}
			}), nil
		},
	}
}

// Example_kernel puts the kernel on a device and lets lowering choose it.
func Example_kernel() {
	dev := host.New(host.Config{Name: "mine", Threads: 1, Kernels: []devices.Kernel{reluKernel(), host.RefKernel()}})
	defer dev.Close()
	b := graph.NewBuilder("demo")
	x := b.Input("x", graph.F32, b.Sym("S", 1, 8))
	g, err := b.Finish(ops.ReLU2(x))
	if err != nil {
		fmt.Println(err)
		return
	}
	prog, err := runtime.Compile(g, dev)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := prog.Load(context.Background(), runtime.Tensors{}); err != nil {
		fmt.Println(err)
		return
	}
	defer prog.Close()
	run, err := prog.NewRun()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer run.Close()
	in, err := prog.Input("x")
	if err != nil {
		fmt.Println(err)
		return
	}
	run.SetF32(in, []float32{-1, 2, 3})
	if err := run.Step(context.Background(), 3); err != nil {
		fmt.Println(err)
		return
	}
	y, err := run.Output(context.Background(), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	times, err := run.Profile(context.Background(), 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(y.F32(), times[0].Kernel)
	// Output: [0 4 9] relu2.go
}
