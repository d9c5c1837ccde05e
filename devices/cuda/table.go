package cuda

import (
	"fmt"
	"slices"

	"github.com/trit-ml/trit/devices"
)

// staticShared bounds the shared memory that kernels declare themselves.
const staticShared = 1 << 10

// sm80 is what every kernel needs: it is what the PTX is compiled for.
var sm80 = []devices.Feature{"sm_80"}

// launchCost is what one more kernel in a graph costs, in nanoseconds.
const launchCost = 1100

// kernelTable lists every kernel, area by area.
func (d *Device) kernelTable() []devices.Kernel {
	return slices.Concat(
		d.ternaryKernels(),
		d.rowKernels(),
		d.decodeKernels(),
		d.attentionKernels(),
		d.attendKernels(),
		d.gemmKernels(),
		d.headKernels(),
		d.drawKernels(),
		d.trainKernels(),
		d.matmulKernels(),
		d.sliceKernels(),
	)
}

// rowsFit checks the limits of kernels that give each row to a block.
func rowsFit(x devices.Operand) error {
	if x.Rows() >= 1<<31 || x.Last() >= 1<<30 {
		return fmt.Errorf("%v has too many rows or too long ones", x.Dims)
	}
	return nil
}

// perRow is one block a row.
func perRow(x devices.Operand) shape {
	threads := 256
	for threads < 1024 && threads*16 < x.Last() {
		threads *= 2
	}
	return shape{blocks: x.Rows(), threads: threads}
}

// perElement is a grid that covers y; kernels stride over what is left.
func (d *Device) perElement(y devices.Operand) shape {
	const threads = 256
	return shape{blocks: min((y.Len()+threads-1)/threads, 16*d.info.Multiprocessors), threads: threads}
}

// memoryCost is the time to read every operand and write every result once.
func (d *Device) memoryCost(c *devices.Call) float64 {
	n := 0
	for _, o := range c.In {
		n += d.bytes(o)
	}
	for _, o := range c.Out {
		n += d.bytes(o)
	}
	return launchCost + float64(n)/d.info.Bandwidth*1e9
}
