package host

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is what the kernel maps at once where it can. Weights are read once
// per token from end to end, so address translation is a real part of the cost.
const hugePage = 2 << 20

func systemMemory(bytes int) (data []byte, release func() error, err error) {
	raw, err := unix.Mmap(-1, 0, bytes+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, err
	}
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (hugePage - 1)
	data = raw[skip : skip+bytes : skip+bytes]
	if whole := bytes / hugePage * hugePage; whole > 0 {
		// A hint: where it is refused, pages are small.
		_ = unix.Madvise(data[:whole:whole], unix.MADV_HUGEPAGE)
	}
	return data, func() error { return unix.Munmap(raw) }, nil
}

// available describes the machine's memory for error messages.
func available() string {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return "how much there is, is unknown"
	}
	unit := uint64(si.Unit)
	return fmt.Sprintf("%d MiB free of %d MiB", uint64(si.Freeram)*unit>>20, uint64(si.Totalram)*unit>>20)
}
