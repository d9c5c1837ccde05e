// Package auto chooses the device that runs a program when the user does not
// care.
package auto

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/devices/neon"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/internal/host"
)

// Options configures the choice.
type Options struct {
	Name    string // "auto" or "" for the best one; otherwise one of Names
	Threads int    // CPU workers; 0 means all processors
}

// Names lists what Options.Name may be.
func Names() []string { return []string{"auto", "avx", "avx2", "neon", "ref"} }

// Closer is a device that must be closed after use.
type Closer interface {
	devices.Device
	Close() error
}

// Open returns a device. Asked for a device that this machine lacks, it returns
// an error that says why; asked for the best one, it falls back to the portable
// device and note says why.
func Open(o Options) (dev Closer, note string, err error) {
	switch o.Name {
	case "", "auto":
		d, err := best(o.Threads)
		if err == nil {
			return d, "", nil
		}
		return ref.Device(ref.Options{Threads: o.Threads}), err.Error(), nil
	case "avx":
		return opened(avx.Device(avx.Options{Threads: o.Threads}))
	case "avx2":
		return opened(avx.Device(avx.Options{Threads: o.Threads, Off: "-avx512"}))
	case "neon":
		return opened(neon.Device(neon.Options{Threads: o.Threads}))
	case "ref":
		return ref.Device(ref.Options{Threads: o.Threads}), "", nil
	}
	return nil, "", fmt.Errorf("no device %q; there are %s", o.Name, strings.Join(Names(), ", "))
}

// best is the fast device of this architecture.
func best(threads int) (*host.Device, error) {
	if runtime.GOARCH == "arm64" {
		return neon.Device(neon.Options{Threads: threads})
	}
	return avx.Device(avx.Options{Threads: threads})
}

// opened is a result of Open. A nil device must not become a non-nil interface.
func opened(d *host.Device, err error) (Closer, string, error) {
	if err != nil {
		return nil, "", err
	}
	return d, "", nil
}
