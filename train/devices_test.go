package train_test

import (
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/devices/ref"
)

// testDevices are the devices that every test of numbers runs on.
func testDevices(t testing.TB) []devices.Device {
	return append([]devices.Device{portable(t, 2), twins(t, 2)}, gpus(t)...)
}

func portable(t testing.TB, threads int) devices.Device {
	d := ref.Device(ref.Options{Threads: threads})
	t.Cleanup(func() { d.Close() })
	return d
}

// fast is the device that trains in earnest here: avx, or ref where the
// processor or the build has no AVX2.
func fast(t testing.TB, threads int) devices.Device {
	d, err := avx.Device(avx.Options{Threads: threads})
	if err != nil {
		t.Logf("on ref: %v", err)
		return portable(t, threads)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// twins is avx's kernels, in plain Go where there is no AVX2.
func twins(t testing.TB, threads int) devices.Device {
	d, err := avx.Device(avx.Options{Threads: threads, Portable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
