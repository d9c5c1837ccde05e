package conformance_test

import (
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/internal/conformance"
)

// TestRef runs the fallback on every op, and ref's own kernels.
func TestRef(t *testing.T) {
	dev := ref.Device(ref.Options{})
	defer dev.Close()
	conformance.Run(t, dev, conformance.Options{Threads: func(n int) devices.Device { return ref.Device(ref.Options{Threads: n}) }})
}
