package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/runtime"
)

// printKernels shows where the time of a measured step goes, by kernel, and what
// share of the memory's bandwidth each reaches.
func printKernels(out io.Writer, step string, calls []runtime.Timing, l devices.Limits) error {
	total, read := time.Duration(0), 0
	for _, t := range calls {
		total += t.Time
		read += t.Read
	}
	fmt.Fprintf(out, "%s: %d calls, %v, %.1f MB of weights at %.1f GB/s; this machine reads %.1f GB/s\n",
		step, len(calls), total.Round(time.Microsecond), float64(read)/1e6, gbs(read, total), l.ReadGBs)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "kernel\tcalls\tms\tof time\tMB of weights\tGB/s\tof limit")
	for _, s := range engine.ByKernel(calls) {
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.1f%%\t", s.Kernel, s.Calls, s.Time.Seconds()*1e3, 100*s.Time.Seconds()/total.Seconds())
		if s.Read > 1<<20 {
			fmt.Fprintf(w, "%.1f\t%.1f\t%s", float64(s.Read)/1e6, gbs(s.Read, s.Time), percent(gbs(s.Read, s.Time), l.ReadGBs))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// printTraining shows where the time of a training step goes, by kernel, with the
// bytes of operands and results, each counted once.
func printTraining(out io.Writer, step string, calls []runtime.Timing, l devices.Limits) error {
	total := time.Duration(0)
	moved := map[string]int{}
	for _, t := range calls {
		total += t.Time
		moved[t.Kernel] += t.Bytes
	}
	fmt.Fprintf(out, "%s: %d calls, %v; this machine reads %.1f GB/s\n", step, len(calls), total.Round(time.Microsecond), l.ReadGBs)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "kernel\tcalls\tms\tof time\tMB\tGB/s\tof limit")
	for _, s := range engine.ByKernel(calls) {
		n := moved[s.Kernel]
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.1f%%\t%.1f\t%.1f\t%s\n", s.Kernel, s.Calls, s.Time.Seconds()*1e3, 100*s.Time.Seconds()/total.Seconds(),
			float64(n)/1e6, gbs(n, s.Time), percent(gbs(n, s.Time), l.ReadGBs))
	}
	return w.Flush()
}

func gbs(bytes int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) / d.Seconds() / 1e9
}
