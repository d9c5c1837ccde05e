package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/host"
)

// Options configures the device.
type Options struct {
	// Threads is the number of workers; 0 means all processors.
	Threads int
	// Off switches features off, as the TRIT_CPU environment variable does:
	// "-avx512" leaves an AVX2 device.
	Off string
	// Portable takes the kernels' twins in plain Go where the processor or the
	// build has no AVX2, instead of an error. They are for tests: the reference
	// device is no slower.
	Portable bool
}

// name is the device's: the narrow instruction sets differ in few kernels.
func name(isa asm.ISA) string {
	if isa == asm.AVXVNNI {
		isa = asm.AVX2
	}
	return isa.String()
}

// Device returns the device of this processor, named after the instruction set
// it uses: "avx512" or "avx2". Close ends its workers. The error says what the
// processor lacks.
func Device(o Options) (*host.Device, error) {
	set, err := cpu.Detect()
	if err == nil {
		set, err = set.Apply(o.Off)
	}
	if err != nil {
		return nil, fmt.Errorf("avx device: %w", err)
	}
	isa := asm.Best(set)
	if isa == asm.Generic {
		if !o.Portable {
			return nil, fmt.Errorf("avx device: this build and processor (%s, features in use: %s) do not have avx2, fma and f16c: use the ref device", cpu.Host().Brand, set)
		}
		set = 0
	}
	has := map[devices.Feature]bool{}
	for _, name := range set.Names() {
		has[devices.Feature(name)] = true
	}
	c := host.Config{Name: name(isa), Has: func(f devices.Feature) bool { return has[f] }, Threads: threads(o.Threads)}
	angles := newAngles()
	unit := func(isa asm.ISA, needs ...devices.Feature) *unit {
		return &unit{isa: isa, threads: c.Threads, angles: angles, needs: needs}
	}
	if isa == asm.Generic {
		u := unit(asm.Generic)
		c.Kernels, c.Layouts = u.kernels(), u.layouts()
	} else {
		c.Kernels = unit(asm.AVX512, "avx512", "avx512vnni").wideKernels()
		c.Kernels = append(c.Kernels, unit(asm.AVXVNNI, "avxvnni").productKernels()...)
		u := unit(asm.AVX2, "avx2", "fma", "f16c")
		c.Kernels, c.Layouts = append(c.Kernels, u.kernels()...), u.layouts()
	}
	c.Kernels = append(c.Kernels, host.RefKernel())
	return host.New(c), nil
}
