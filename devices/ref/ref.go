// Package ref is the portable device: plain Go on any processor, complete,
// because whatever has no kernel here runs through the op's own reference
// implementation.
package ref

import (
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
	return host.New(host.Config{
		Name:    "ref",
		Kernels: []devices.Kernel{host.RefKernel()},
		Threads: o.Threads,
	})
}
