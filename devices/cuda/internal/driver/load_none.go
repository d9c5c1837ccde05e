//go:build !(cuda && linux && (amd64 || arm64))

package driver

import "errors"

func load(*API) error {
	return errors.New("this program was built without CUDA; build it for linux/amd64 or linux/arm64 with -tags cuda, or choose another device")
}

// invoke is not reached: load never succeeds.
func invoke(uintptr, ...uintptr) uint32 { return 999 }
