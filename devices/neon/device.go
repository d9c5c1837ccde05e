package neon

import (
	"fmt"
	"runtime"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon/internal/asm"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/host"
)

// Options configures the device.
type Options struct {
	// Threads is the number of workers; 0 means all processors.
	Threads int
	// Off switches features off, as the TRIT_CPU environment variable does:
	// "-dotprod" leaves the kernels without SDOT.
	Off string
	// Portable takes the kernels' twins in plain Go where the processor or the
	// build has no NEON, instead of an error. They are for tests: the reference
	// device is no slower.
	Portable bool
}

// Device returns the device of this processor, named "neon". Close ends its
// workers. The error says what the processor or the build lacks.
func Device(o Options) (*host.Device, error) {
	set, err := cpu.Detect()
	if err == nil {
		set, err = set.Apply(o.Off)
	}
	if err != nil {
		return nil, fmt.Errorf("neon device: %w", err)
	}
	isa := asm.Best(set)
	if isa == asm.Generic {
		if !o.Portable {
			return nil, fmt.Errorf("neon device: this build (%s) and processor (%s, features in use: %s) do not have neon: use the ref device", runtime.GOARCH, cpu.Host().Brand, set)
		}
		set = 0
	}
	has := map[devices.Feature]bool{}
	for _, name := range set.Names() {
		has[devices.Feature(name)] = true
	}
	c := host.Config{Name: "neon", Has: func(f devices.Feature) bool { return has[f] }, Threads: threads(o.Threads)}
	if isa == asm.Generic {
		c.Name = isa.String()
		c.Kernels = newUnit(asm.Generic, c.Threads).kernels()
	} else {
		c.Kernels = newUnit(asm.DotProd, c.Threads, "neon", "dotprod").linearKernels()
		c.Kernels = append(c.Kernels, newUnit(asm.NEON, c.Threads, "neon").kernels()...)
	}
	c.Kernels = append(c.Kernels, host.RefKernel())
	c.Layouts = layouts()
	return host.New(c), nil
}
