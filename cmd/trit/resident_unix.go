//go:build unix && !linux

package main

import (
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// resetPeak makes peakResident count from now, where the system can.
func resetPeak() {}

// peakResident is the most memory the process has had, in bytes; 0 if unknown.
func peakResident() int {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if goruntime.GOOS == "darwin" || goruntime.GOOS == "ios" {
		return int(u.Maxrss)
	}
	return int(u.Maxrss) << 10
}
