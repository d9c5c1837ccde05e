//go:build !unix

package main

// resetPeak makes peakResident count from now, where the system can.
func resetPeak() {}

// peakResident is the most memory the process has had, in bytes; 0 if unknown.
func peakResident() int { return 0 }
