package cuda

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// wrap adds where an error happened and, for the driver errors that a user can
// do something about, what to do.
func wrap(where string, err error) error {
	if err == nil {
		return nil
	}
	var e *driver.Error
	if errors.As(err, &e) {
		if fix := cmp.Or(losses[e.Code], fixes[e.Code]); fix != "" {
			return fmt.Errorf("%s: %w; %s", where, err, fix)
		}
	}
	return fmt.Errorf("%s: %w", where, err)
}

const lost = "the GPU's state is lost and every further call fails: close the device and start again"

// hardware is added for losses that no program causes.
const hardware = "; if it comes again, the GPU needs service: see nvidia-smi -q and the kernel log (dmesg)"

// fixes is by driver error code (CUresult), losses aside.
var fixes = map[int]string{
	2:   "free GPU memory or ask for less",
	3:   "the process is ending",
	46:  "another process holds the GPU exclusively; stop it, or choose another device",
	100: "no GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose another device",
	209: "the embedded kernels do not fit this GPU: choose another device, and report this",
	222: "the driver is too old for the embedded kernels: install driver 525 (CUDA 12.0) or newer",
	802: "the system is not ready: on machines with NVSwitch start the fabric manager",
	803: "the loaded kernel driver and libcuda.so.1 have different versions: reboot, or reinstall the driver",
	999: "check the kernel log (dmesg) for NVRM messages; a reboot usually helps",
}

// losses are the errors that end the use of the GPU's context: a kernel that
// failed, or a GPU that did.
var losses = map[int]string{
	214: lost + hardware, // ECC
	220: lost + hardware, // NVLink
	221: lost + hardware, // contained
	700: lost, 702: lost, 710: lost, 714: lost, 715: lost, 716: lost, 717: lost, 718: lost, 719: lost,
}

// isLost reports whether err ends the use of the GPU's context.
func isLost(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && losses[e.Code] != ""
}

// released is the error of giving something back. What a lost GPU held is gone
// with it, so the loss is said once, where it is met first.
func (d *Device) released(what string, err error) error {
	var e *driver.Error
	if isLost(err) && errors.As(err, &e) {
		if d.lost.Swap(true) {
			return nil
		}
		err = e
	}
	return wrap(d.Name()+what, err)
}

// size prints bytes for people.
func size(n int) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d B", n)
}
