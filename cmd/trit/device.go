package main

import (
	"fmt"
	goruntime "runtime"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
)

// cacheFlag chooses what the key/value cache holds.
type cacheFlag struct {
	Cache string `help:"Element type of the key/value cache: f32, f16, bf16, or i8 for codes that are off by 1/254 of a head's largest value at most; smaller is faster in long contexts." enum:"f32,f16,bf16,i8" default:"f32"`
}

func (f cacheFlag) elem() graph.DType { return cacheElems[f.Cache] }

// cacheElems are the element types that a cache can have.
var cacheElems = map[string]graph.DType{"f32": graph.F32, "f16": graph.F16, "bf16": graph.BF16, "i8": graph.I8}

// deviceFlags choose where to run.
type deviceFlags struct {
	Device  string `help:"Where to run: ${devices}." default:"auto"`
	Threads int    `help:"CPU threads; 0 means all processors." short:"t"`
}

// open opens the one device that is named.
func (f deviceFlags) open(e *env) (auto.Closer, error) {
	if len(auto.Split(f.Device)) > 1 {
		return nil, fmt.Errorf("--device %s: this command runs on one device", f.Device)
	}
	return f.openAll(e)
}

// openAll is open for a command that also takes a list of devices, which share the
// work.
func (f deviceFlags) openAll(e *env) (auto.Closer, error) {
	dev, note, err := auto.Open(auto.Options{Name: f.Device, Threads: f.Threads})
	if note != "" {
		fmt.Fprintln(e.err, "note:", note)
	}
	return dev, err
}

// where says what a measurement ran on: the device and the processor's threads,
// or the accelerator.
func where(dev devices.Device, threads int, cpu string) string {
	if s, ok := dev.(devices.Several); ok {
		return fmt.Sprintf("%d devices: %s", len(s.Each()), where(s.Each()[0], threads, cpu))
	}
	if a, ok := dev.(devices.Accelerator); ok {
		return a.About()
	}
	return fmt.Sprintf("%s, %d threads, %s", dev.Name(), threads, cpu)
}

// limits measures the device to compare with, or notes why it cannot be.
func limits(e *env, dev devices.Device, threads int) devices.Limits {
	l, err := auto.Measure(e.ctx, dev, threads)
	if err != nil {
		fmt.Fprintln(e.err, "note: no limits to compare with:", err)
	}
	return l
}

// threads is how many threads a CPU device uses.
func (f deviceFlags) threads() int {
	if f.Threads < 1 {
		return goruntime.GOMAXPROCS(0)
	}
	return f.Threads
}
