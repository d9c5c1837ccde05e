package cpu

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// Info describes the host. Sizes are in bytes; 0 means unknown.
type Info struct {
	Brand    string // as the processor names itself
	Cores    int    // physical cores, at least 1
	Threads  int    // logical processors this process may use, at least 1
	L1D, L2  int    // per core
	L3       int    // shared; one core complex on AMD
	Features Set    // of the hardware, without toggles
}

// Host describes this machine.
func Host() Info {
	c := &cpuid.CPU
	threads := runtime.NumCPU() // respects the affinity mask, unlike CPUID
	info := Info{
		Brand:    strings.TrimSpace(c.BrandName),
		Cores:    threads,
		Threads:  threads,
		L1D:      max(c.Cache.L1D, 0),
		L2:       max(c.Cache.L2, 0),
		L3:       max(c.Cache.L3, 0),
		Features: Hardware(),
	}
	if c.PhysicalCores > 0 {
		info.Cores = min(c.PhysicalCores, threads)
	}
	return info
}

// String is one line for reports, for example
// "AMD EPYC, 2 cores, 2 threads, L2 1 MiB, L3 32 MiB, avx2 fma".
func (i Info) String() string {
	brand := i.Brand
	if brand == "" {
		brand = runtime.GOARCH
	}
	return fmt.Sprintf("%s, %d cores, %d threads, L1D %s, L2 %s, L3 %s, %s",
		brand, i.Cores, i.Threads, size(i.L1D), size(i.L2), size(i.L3), i.Features)
}

func size(bytes int) string {
	switch {
	case bytes == 0:
		return "unknown"
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
