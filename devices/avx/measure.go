package avx

import (
	"fmt"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/internal/cpu"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/internal/pool"
)

// Measure measures this processor with so many threads, in about a second. The
// read is one of 1 GiB.
func Measure(threads int) (devices.Limits, error) {
	set, err := cpu.Detect()
	if err != nil {
		return devices.Limits{}, err
	}
	isa := asm.Best(set)
	if isa == asm.Generic {
		return devices.Limits{}, fmt.Errorf("this build and processor have no vector kernels to measure with")
	}
	p := pool.New(threads)
	defer p.Close()
	l := devices.Limits{Threads: p.Threads(), ISA: isa.String()}
	buf, err := host.Alloc(1 << 30)
	if err != nil {
		return l, err
	}
	defer buf.Free()
	data := buf.Bytes()
	for i := 0; i < len(data); i += 4096 {
		data[i] = 1 // memory that was never written is one shared page of zeros
	}
	part := len(data) / l.Threads
	if l.ReadGBs, err = best(p, func(task int) int { return isa.ReadStream(data[task*part:][:part]) }); err != nil {
		return l, err
	}
	if l.MACGs, err = best(p, func(int) int { return isa.PeakMAC(4 << 20) }); err != nil {
		return l, err
	}
	l.FMAGFLOPs, err = best(p, func(int) int { return 2 * isa.PeakFMA(4<<20) })
	return l, err
}

// best runs f on every worker several times and returns the highest total rate,
// in 10⁹ a second. The first run warms up and is not counted.
func best(p *pool.Pool, f func(task int) int) (float64, error) {
	done := make([]int, p.Threads())
	rate := 0.0
	for i := range 4 {
		began := time.Now()
		if err := p.Run(len(done), func(task, _ int) { done[task] = f(task) }); err != nil {
			return 0, err
		}
		total := 0
		for _, n := range done {
			total += n
		}
		if r := float64(total) / time.Since(began).Seconds() / 1e9; i > 0 {
			rate = max(rate, r)
		}
	}
	return rate, nil
}
