package host

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// refCost makes the fallback look slow beside any kernel: nanoseconds for each
// byte of its operands and results.
const refCost = 10

// RefKernel is the fallback of every CPU device: it runs any op that has a
// reference implementation, on one thread, directly over the operands' memory.
//
// For an op that updates operands in place, result and operand are the same
// memory; its reference must allow that.
//
// It takes no call in bf16: where all kernels are f32, a program in bf16 would run
// in references and be asked for by mistake.
func RefKernel() devices.Kernel {
	return devices.Kernel{
		Name:  "ref",
		Order: "ref",
		Accept: func(c *devices.Call) error {
			if !c.Op.HasRef() {
				return fmt.Errorf("op %s has no reference implementation", c.Op.Name)
			}
			return nil
		},
		Cost: func(c *devices.Call) float64 {
			n := 0
			for _, o := range c.In {
				n += o.Bytes()
			}
			for _, o := range c.Out {
				n += o.Bytes()
			}
			return refCost * float64(n)
		},
		Bind: BindRef,
	}
}

// BindRef binds a call to the op's reference implementation.
func BindRef(c *devices.Call) (devices.Launch, error) {
	in, err := tensors(c.In)
	if err != nil {
		return nil, err
	}
	out, err := tensors(c.Out)
	if err != nil {
		return nil, err
	}
	op, attrs := c.Op, c.Attrs
	// References may count on zeroed results, as the interpreter gives them.
	fresh := make([]bool, len(out))
	for i := range out {
		fresh[i] = true
	}
	for _, u := range op.Updates {
		fresh[u.Out] = false
	}
	return Serial(c, func() {
		for i := range out {
			if fresh[i] {
				clear(out[i].Data)
			}
		}
		if err := op.Run(attrs, in, out); err != nil {
			Fail(err)
		}
	}), nil
}

func tensors(os []devices.Operand) ([]graph.Tensor, error) {
	ts := make([]graph.Tensor, len(os))
	for i, o := range os {
		if o.Layout != "" {
			return nil, fmt.Errorf("operand %d is packed as %s", i, o.Layout)
		}
		ts[i] = Tensor(o)
		if ts[i].Data == nil && o.Bytes() > 0 {
			return nil, fmt.Errorf("operand %d: %d bytes at %d are not in host memory", i, o.Bytes(), o.Off)
		}
	}
	return ts, nil
}
