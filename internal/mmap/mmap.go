// Package mmap maps files read-only into memory, so that weights are paged in
// when they are used and shared between processes. Where mapping is not
// available, the file is read instead; callers see the same bytes.
package mmap

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"unsafe"
)

// File is the content of a file at the time it was opened. The bytes must not
// be written to, and must not be used after Close. A file that is truncated by
// somebody else while it is mapped faults on access, as with every mapping;
// trit's own writers never truncate, they replace by rename.
type File struct {
	data   []byte
	mapped bool
	close  func() error
	once   sync.Once
	err    error
}

// Open maps the whole of a regular file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	// Both systems keep a mapping alive after its descriptor is closed.
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	size := info.Size()
	if size > math.MaxInt {
		return nil, fmt.Errorf("%s: %d bytes exceed the address space", path, size)
	}
	if size == 0 {
		return &File{}, nil
	}
	if data, unmap, err := mapFile(f, int(size)); err == nil {
		return &File{data: data, mapped: true, close: unmap}, nil
	}
	data, err := readAll(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &File{data: data}, nil
}

// Bytes returns the file's content; its start is aligned to at least 8 bytes.
func (f *File) Bytes() []byte { return f.data }

// Mapped reports whether the content is paged in on demand.
func (f *File) Mapped() bool { return f.mapped }

// Forget tells the system that b, a part of Bytes, is not needed soon, so that
// its pages stop counting as resident. The content stays readable. It is a
// hint: only whole pages inside b are affected.
func (f *File) Forget(b []byte) {
	if !f.mapped || len(b) == 0 || len(f.data) == 0 {
		return
	}
	base, at := uintptr(unsafe.Pointer(&f.data[0])), uintptr(unsafe.Pointer(&b[0]))
	if at < base || at+uintptr(len(b)) > base+uintptr(len(f.data)) {
		return
	}
	page := uintptr(os.Getpagesize())
	from := (at - base + page - 1) / page * page
	to := (at - base + uintptr(len(b))) / page * page
	if from < to {
		forget(f.data[from:to])
	}
}

// Close releases the mapping. It is idempotent.
func (f *File) Close() error {
	f.once.Do(func() {
		if f.close != nil {
			f.err = f.close()
		}
		f.data = nil
	})
	return f.err
}

// readAll reads exactly size bytes into memory aligned to 8 bytes.
func readAll(r io.Reader, size int) ([]byte, error) {
	words := make([]uint64, (size+7)/8)
	data := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return data, nil
}
