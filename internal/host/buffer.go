package host

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

// Buffer is host memory. Buffers from Alloc start at a multiple of
// devices.Align; wrapped ones start where the caller's memory does.
type Buffer struct {
	data     []byte
	release  func() error // nil: the garbage collector's
	readOnly bool
}

// bigAlloc is the size from which memory comes straight from the system: it is
// zeroed only when touched, may use huge pages, and Free returns it at once
// instead of at some later collection.
const bigAlloc = 1 << 20

// maxAlloc rejects sizes that can only come from a mistake.
const maxAlloc = 1 << 46

// Alloc returns zeroed memory.
func Alloc(bytes int) (*Buffer, error) {
	if bytes < 0 || bytes > maxAlloc {
		return nil, fmt.Errorf("host memory: cannot allocate %d bytes", bytes)
	}
	if bytes >= bigAlloc {
		data, release, err := systemMemory(bytes)
		if err == nil {
			return &Buffer{data: data, release: release}, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			// make would end the process where the system has just said no.
			return nil, fmt.Errorf("host memory: %d MiB asked for, %s: %w", bytes>>20, available(), err)
		}
	}
	raw := make([]byte, bytes+devices.Align)
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (devices.Align - 1)
	return &Buffer{data: raw[skip : skip+bytes : skip+bytes]}, nil
}

// Wrap returns a read-only buffer over memory that the caller owns and keeps
// until the buffer is no longer used.
func Wrap(data []byte) *Buffer { return &Buffer{data: data, readOnly: true} }

// Size implements devices.Buffer.
func (b *Buffer) Size() int { return len(b.data) }

// Bytes is the memory itself.
func (b *Buffer) Bytes() []byte { return b.data }

// Free gives the memory back. Launches bound to it must not run afterwards.
func (b *Buffer) Free() error {
	release := b.release
	b.data, b.release = nil, nil
	if release != nil {
		return release()
	}
	return nil
}

// Bytes returns n bytes of memory from where operand o lies: the size of its
// packed form, which the operand's type does not tell. It is nil if the operand
// is not in host memory or reaches beyond its buffer.
func Bytes(o devices.Operand, n int) []byte {
	b, ok := o.Buf.(*Buffer)
	if !ok || o.Off < 0 || n < 0 || o.Off > len(b.data) || n > len(b.data)-o.Off {
		return nil
	}
	return b.data[o.Off : o.Off+n : o.Off+n]
}

// Tensor returns operand o, stored row-major, as a tensor over its memory.
func Tensor(o devices.Operand) graph.Tensor {
	return graph.Tensor{Elem: o.Elem, Dims: o.Dims, Data: Bytes(o, o.Bytes())}
}

// F32 returns the elements of a row-major f32 operand; nil for another type.
func F32(o devices.Operand) []float32 { return Tensor(o).F32() }

// I8 returns the elements of a row-major i8 or tern operand; nil for another type.
func I8(o devices.Operand) []int8 { return Tensor(o).I8() }

// I32 returns the elements of a row-major i32 operand; nil for another type.
func I32(o devices.Operand) []int32 { return Tensor(o).I32() }

// U16 returns the bits of a row-major f16 or bf16 operand; nil for another type.
func U16(o devices.Operand) []uint16 { return Tensor(o).U16() }

// U8 returns the elements of a row-major u8 operand; nil for another type.
func U8(o devices.Operand) []uint8 {
	if o.Elem != graph.U8 {
		return nil
	}
	return Bytes(o, o.Bytes())
}
