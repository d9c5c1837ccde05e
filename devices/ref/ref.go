// Package ref is the portable device: plain Go on any processor, complete,
// because whatever has no kernel here runs through the op's own reference
// implementation.
//
// Its kernels compute what the references compute, in the same precision and
// order (sums in float64), but on all processors, without allocating and without
// copying weights. It is the device to compare others with.
package ref

import (
	"runtime"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
)

// Options configures the device.
type Options struct {
	// Threads is the number of workers; 0 means all processors.
	Threads int
}

// Device returns a portable device. Close ends its workers.
func Device(o Options) *host.Device {
	threads := o.Threads
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	fallback := host.RefKernel()
	fallback.BF16 = true
	return host.New(host.Config{
		Name:    "ref",
		Kernels: []devices.Kernel{ternaryMatMul(), linear(threads), matmul(threads), cachedAttention(threads), fallback},
		Threads: threads,
	})
}

// work is the multiplications that one task should have at least: some
// microseconds, beside which handing out a task does not count.
const work = 1 << 14

// chunk is how many units of the given cost in multiplications make a task. It
// depends on extents only, never on the number of threads.
func chunk(cost int) int { return max(1, work/max(1, cost)) }
