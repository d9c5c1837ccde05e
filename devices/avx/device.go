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
	c := host.Config{Name: isa.String(), Has: func(f devices.Feature) bool { return has[f] }, Threads: o.Threads}
	c.Threads = threads(o.Threads)
	angles := newAngles()
	if isa == asm.Generic {
		u := &unit{isa: asm.Generic, threads: c.Threads, angles: angles}
		c.Kernels = u.kernels()
		c.Layouts = u.layouts()
	} else {
		wide := &unit{isa: asm.AVX512, threads: c.Threads, angles: angles,
			needs: []devices.Feature{"avx512", "avx512vnni"}}
		narrow := &unit{isa: asm.AVX2, threads: c.Threads, angles: angles,
			needs: []devices.Feature{"avx2", "fma", "f16c"}}
		c.Kernels = append(wide.wideKernels(), narrow.kernels()...)
		c.Layouts = narrow.layouts()
	}
	c.Kernels = append(c.Kernels, host.RefKernel())
	return host.New(c), nil
}
