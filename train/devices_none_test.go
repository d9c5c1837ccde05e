//go:build !cuda

package train_test

import (
	"testing"

	"github.com/trit-ml/trit/devices"
)

// gpus needs the build tag cuda.
func gpus(testing.TB) []devices.Device { return nil }
