//go:build !unix

package main

// peakResident is the most memory the process has had, in bytes; 0 if unknown.
func peakResident() int { return 0 }
