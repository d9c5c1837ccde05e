package host

import (
	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/pool"
)

// Config describes a CPU device.
type Config struct {
	Name    string                     // such as "avx2"
	Has     func(devices.Feature) bool // nil: no feature
	Kernels []devices.Kernel
	Layouts []devices.Layout
	Threads int // workers, the caller included; below 1: all processors
}

// Device is a CPU with a table of kernels. It is safe for concurrent use: when
// two queues run at the same time, one has the workers and the other runs on its
// own goroutine.
type Device struct {
	c    Config
	pool *pool.Pool
}

// New returns a device. Close ends its workers.
func New(c Config) *Device {
	return &Device{c: c, pool: pool.New(c.Threads)}
}

// Name implements devices.Device.
func (d *Device) Name() string { return d.c.Name }

// Has implements devices.Device.
func (d *Device) Has(f devices.Feature) bool { return d.c.Has != nil && d.c.Has(f) }

// Kernels implements devices.Device.
func (d *Device) Kernels() []devices.Kernel { return d.c.Kernels }

// Layouts implements devices.Device.
func (d *Device) Layouts() []devices.Layout { return d.c.Layouts }

// Threads is the number of workers.
func (d *Device) Threads() int { return d.pool.Threads() }

// Alloc returns zeroed memory.
func (d *Device) Alloc(bytes int) (devices.Buffer, error) {
	b, err := Alloc(bytes)
	if err != nil {
		return nil, err // not b, which would be a non-nil interface
	}
	return b, nil
}

// Wrap returns a read-only buffer over memory that the caller owns.
func (d *Device) Wrap(data []byte) (devices.Buffer, bool) { return Wrap(data), true }

// NewQueue returns a queue that runs work before its calls return.
func (d *Device) NewQueue() (devices.Queue, error) { return &Queue{pool: d.pool}, nil }

// Close ends the workers. Queues still work afterwards, on their caller's
// goroutine alone.
func (d *Device) Close() error {
	d.pool.Close()
	return nil
}
