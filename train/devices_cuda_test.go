//go:build cuda

package train_test

import (
	"os"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda"
)

// gpus is the GPU of this machine, if there is one.
func gpus(t testing.TB) []devices.Device {
	d, err := cuda.Open(0)
	if err != nil {
		if os.Getenv("TRIT_CUDA") == "required" {
			t.Fatal(err)
		}
		t.Logf("without a GPU: %v", err)
		return nil
	}
	t.Cleanup(func() { d.Close() })
	return []devices.Device{d}
}
