package main

import (
	"fmt"
	goruntime "runtime"

	"github.com/trit-ml/trit/devices/auto"
)

// deviceFlags choose where to run.
type deviceFlags struct {
	Device  string `help:"Where to run: ${devices}." default:"auto"`
	Threads int    `help:"CPU threads; 0 means all processors." short:"t"`
}

func (f deviceFlags) open(e *env) (auto.Closer, error) {
	dev, note, err := auto.Open(auto.Options{Name: f.Device, Threads: f.Threads})
	if note != "" {
		fmt.Fprintln(e.err, "note:", note)
	}
	return dev, err
}

// threads is how many threads a CPU device uses.
func (f deviceFlags) threads() int {
	if f.Threads < 1 {
		return goruntime.GOMAXPROCS(0)
	}
	return f.Threads
}
