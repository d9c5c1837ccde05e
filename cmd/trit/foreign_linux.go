package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// ticks is how many of the kernel's units make a second; Linux reports 100 to
// programs on every processor.
const ticks = 100

// foreignTime is the processor time, in seconds, that everything but this process
// has taken on this machine.
func foreignTime() (float64, bool) {
	text, err := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	var own syscall.Rusage
	if err != nil || len(fields) < 9 || syscall.Getrusage(syscall.RUSAGE_SELF, &own) != nil {
		return 0, false
	}
	busy := 0.0
	for i, f := range fields[1:9] {
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return 0, false
		}
		if idle := i == 3 || i == 4; !idle {
			busy += n / ticks
		}
	}
	return busy - float64(own.Utime.Nano()+own.Stime.Nano())/1e9, true
}
