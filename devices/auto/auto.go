// Package auto finds a device by its name, and chooses the best processor's when
// the user does not care. It never chooses an accelerator by itself: its memory
// may be in use, and its results differ in the last bits.
package auto

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/devices/cuda"
	"github.com/trit-ml/trit/devices/neon"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/internal/host"
)

// Options configures the choice.
type Options struct {
	Name    string // "auto" or "" for the processor's best; otherwise one of Names, "cuda:N" or "cuda:sm_90"
	Threads int    // CPU workers; 0 means all processors
}

// Names lists what Options.Name may be. "cuda" is the first GPU and "cuda:1" the
// second; "cuda:sm_90" only explains what a GPU of that architecture would run.
func Names() []string { return append(processors(), "cuda") }

func processors() []string { return []string{"auto", "avx", "avx2", "neon", "ref"} }

// Split returns the devices that a list names, such as "cuda:0,cuda:1" or, shorter,
// "cuda:0,1".
func Split(list string) []string {
	names := strings.Split(list, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
		if _, err := strconv.Atoi(names[i]); err == nil && i > 0 {
			if kind, _, ok := strings.Cut(names[i-1], ":"); ok {
				names[i] = kind + ":" + names[i]
			}
		}
	}
	return names
}

// several is what a list of names opens.
type several struct {
	Closer
	all []Closer
}

// Each implements devices.Several.
func (s *several) Each() []devices.Device {
	ds := make([]devices.Device, len(s.all))
	for i, d := range s.all {
		ds[i] = d
	}
	return ds
}

// Name lists the names.
func (s *several) Name() string {
	var names []string
	for _, d := range s.all {
		names = append(names, d.Name())
	}
	return strings.Join(names, ",")
}

func (s *several) Close() error {
	var errs []error
	for _, d := range s.all {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// openSeveral opens the devices of a list, which share the threads.
func openSeveral(names []string, threads int) (Closer, string, error) {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	s := &several{}
	var notes []string
	for _, name := range names {
		if name == "" {
			return nil, "", errors.Join(errors.New("a name in the list of devices is empty"), s.Close())
		}
		d, note, err := Open(Options{Name: name, Threads: max(1, threads/len(names))})
		if err != nil {
			return nil, "", errors.Join(err, s.Close())
		}
		if note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
		s.all = append(s.all, d)
	}
	s.Closer = s.all[0]
	return s, strings.Join(notes, "; "), nil
}

// Closer is a device that must be closed after use.
type Closer interface {
	devices.Device
	Close() error
}

// Open returns a device, or of a list of names (see Split) a devices.Several. Asked
// for a device that this machine lacks, it returns
// an error that says why; asked for the best one, it falls back to the portable
// device and note says why.
func Open(o Options) (dev Closer, note string, err error) {
	if names := Split(o.Name); len(names) > 1 {
		return openSeveral(names, o.Threads)
	}
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
	if kind, which, _ := strings.Cut(o.Name, ":"); kind == "cuda" {
		d, err := openCUDA(which)
		if err != nil {
			return nil, "", err
		}
		return d, "", nil
	}
	return nil, "", fmt.Errorf("no device %q; there are %s and cuda:N for the GPU of number N", o.Name, strings.Join(Names(), ", "))
}

func openCUDA(which string) (*cuda.Device, error) {
	if strings.HasPrefix(which, "sm_") {
		return cuda.Offline(which)
	}
	index := 0
	if which != "" {
		var err error
		if index, err = strconv.Atoi(which); err != nil || index < 0 {
			return nil, fmt.Errorf("device %q: want the number of a GPU, as in cuda:0, or an architecture to explain, as in cuda:sm_90", "cuda:"+which)
		}
	}
	return cuda.Open(index)
}

// Accelerators describes the accelerators of this machine, by name. Some may be
// too old to open. The error says why there are none.
func Accelerators() (names, about []string, err error) {
	infos, err := cuda.List()
	for _, i := range infos {
		names, about = append(names, "cuda:"+strconv.Itoa(i.Index)), append(about, i.String())
	}
	return names, about, err
}

// Measure measures what the device, or each of several, can do at best, or the processor with so many
// threads, in about a second.
func Measure(ctx context.Context, d devices.Device, threads int) (devices.Limits, error) {
	if s, ok := d.(devices.Several); ok {
		d = s.Each()[0]
	}
	if a, ok := d.(devices.Accelerator); ok {
		return a.Measure(ctx)
	}
	return avx.Measure(threads)
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
