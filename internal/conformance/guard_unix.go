//go:build unix

package conformance

import (
	"os"

	"golang.org/x/sys/unix"
)

// guards tells that reading beside an operand is noticed.
const guards = true

// guarded returns at least n bytes with an unreadable page before and behind.
func guarded(n int) ([]byte, func() error, error) {
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, err
	}
	for _, guard := range [][]byte{all[:page], all[page+size:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			return nil, nil, err
		}
	}
	return all[page : page+size : page+size], func() error { return unix.Munmap(all) }, nil
}
