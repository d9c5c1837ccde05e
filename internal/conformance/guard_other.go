//go:build !unix

package conformance

import (
	"unsafe"

	"github.com/trit-ml/trit/devices"
)

// guards tells that reading beside an operand is noticed.
const guards = false

// guarded returns aligned memory; canaries alone guard it.
func guarded(n int) ([]byte, func() error, error) {
	raw := make([]byte, n+devices.Align)
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (devices.Align - 1)
	return raw[skip : skip+n : skip+n], func() error { return nil }, nil
}
