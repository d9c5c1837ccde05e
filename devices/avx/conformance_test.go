package avx

import (
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/conformance"
)

// TestConformance runs every row of the table against its op's reference.
func TestConformance(t *testing.T) {
	open := func(threads int) devices.Device {
		d, err := Device(Options{Threads: threads})
		if err != nil {
			t.Skipf("no vector device on this machine and build: %v", err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	conformance.Run(t, open(2), conformance.Options{Threads: open})
}
