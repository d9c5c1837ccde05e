package train_test

import (
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/ref"
)

// testDevices are the devices that every test of numbers runs on.
func testDevices(t testing.TB) []devices.Device {
	portable := ref.Device(ref.Options{Threads: 2})
	t.Cleanup(func() { portable.Close() })
	return []devices.Device{portable}
}
