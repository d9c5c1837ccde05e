package cuda

import "github.com/trit-ml/trit/devices"

// matmulKernels lists dense products.
func (d *Device) matmulKernels() []devices.Kernel { return nil }
