package cuda

import (
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// buffer is device memory.
type buffer struct {
	d    *Device
	ptr  driver.Ptr
	size int
}

// Alloc returns zeroed device memory. Addresses are multiples of 256.
func (d *Device) Alloc(bytes int) (devices.Buffer, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("%s: cannot allocate %d bytes", d.Name(), bytes)
	}
	b := &buffer{d: d, size: bytes}
	if bytes == 0 {
		return b, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.with(func() (err error) {
		if b.ptr, err = d.api.MemAlloc(bytes); err != nil {
			if free, total, e := d.api.MemInfo(); e == nil {
				err = fmt.Errorf("%s asked, %s of %s free: %w", size(bytes), size(int(free)), size(int(total)), err)
			}
			return err
		}
		// A stream of our own: the default stream does not order with queues.
		if err = d.api.Zero(b.ptr, bytes, d.aux); err == nil {
			err = d.api.StreamSync(d.aux)
		}
		if err != nil {
			err = errors.Join(err, d.api.MemFree(b.ptr))
		}
		return err
	})
	if err != nil {
		return nil, wrap(d.Name(), err)
	}
	return b, nil
}

// Size is in bytes.
func (b *buffer) Size() int { return b.size }

// Free waits for work that uses the memory. Freeing twice is harmless.
func (b *buffer) Free() error {
	if b.ptr == 0 {
		return nil
	}
	b.d.small.Lock()
	for s := range b.d.small.of {
		s.forget(b.ptr, b.ptr+driver.Ptr(b.size))
	}
	b.d.small.Unlock()
	err := b.d.release(func() error { return b.d.api.MemFree(b.ptr) })
	b.ptr, b.size = 0, 0
	return b.d.released("", err)
}

// span checks that n bytes at off lie in a buffer of d and returns their
// address.
func (d *Device) span(buf devices.Buffer, off, n int) (driver.Ptr, error) {
	b, ok := buf.(*buffer)
	if !ok || b.d != d {
		return 0, fmt.Errorf("%s: the buffer belongs to another device", d.Name())
	}
	if off < 0 || n < 0 || off > b.size || n > b.size-off {
		return 0, fmt.Errorf("%s: bytes %d to %d of a buffer of %d", d.Name(), off, off+n, b.size)
	}
	return b.ptr + driver.Ptr(off), nil
}
