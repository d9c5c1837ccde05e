package train_test

import (
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/devices/ref"
)

// testDevices are the devices that every test of numbers runs on.
func testDevices(t testing.TB) []devices.Device {
	return []devices.Device{portable(t, 2), fast(t, 2)}
}

func portable(t testing.TB, threads int) devices.Device {
	d := ref.Device(ref.Options{Threads: threads})
	t.Cleanup(func() { d.Close() })
	return d
}

// fast is the device that trains in earnest. Without AVX2 it is its kernels'
// plain Go twins.
func fast(t testing.TB, threads int) devices.Device {
	d, err := avx.Device(avx.Options{Threads: threads, Portable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
