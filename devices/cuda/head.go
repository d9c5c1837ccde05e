package cuda

import "github.com/trit-ml/trit/devices"

// headKernels lists the output head and sampling.
func (d *Device) headKernels() []devices.Kernel { return nil }
