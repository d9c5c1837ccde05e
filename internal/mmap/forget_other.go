//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package mmap

func forget([]byte) {}
