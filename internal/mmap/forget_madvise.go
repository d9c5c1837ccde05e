//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package mmap

import "golang.org/x/sys/unix"

// forget ignores the result: a refused hint changes nothing but memory use.
func forget(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
