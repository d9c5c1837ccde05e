// Package safetensors reads and writes Hugging Face's safetensors files: an
// 8-byte little-endian length, a JSON header that names tensors, and their
// bytes. Format: https://github.com/huggingface/safetensors.
//
// Files are validated completely before any tensor is handed out; the data is
// mapped and never copied where its alignment allows.
package safetensors

import (
	"bytes"
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/mmap"
)

// File is an open file. It is safe for concurrent use. Tensors alias the
// file's bytes: do not write to them, nor use them after Close.
type File struct {
	*Header
	data []byte
	mm   *mmap.File
}

// Open maps and validates the file at path.
func Open(path string) (*File, error) {
	mm, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(mm.Bytes())
	if err != nil {
		mm.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.mm = mm
	return f, nil
}

// Parse validates a file that is already in memory.
func Parse(data []byte) (*File, error) {
	h, err := ReadHeader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return &File{Header: h, data: data}, nil
}

// Bytes returns the raw bytes of the tensor called name.
func (f *File) Bytes(name string) ([]byte, error) {
	info, ok := f.Info(name)
	if !ok {
		return nil, fmt.Errorf("safetensors: no tensor %q", name)
	}
	return f.data[info.Offset : info.Offset+info.Size : info.Offset+info.Size], nil
}

// Tensor returns the tensor called name. It aliases the file unless its offset
// is not a multiple of the element size.
func (f *File) Tensor(name string) (graph.Tensor, error) {
	raw, err := f.Bytes(name)
	if err != nil {
		return graph.Tensor{}, err
	}
	info, _ := f.Info(name)
	if info.Elem == graph.InvalidDType {
		return graph.Tensor{}, fmt.Errorf("safetensors: tensor %q: element type %s is not supported", name, info.DType)
	}
	t, err := graph.NewTensorFrom(info.Elem, raw, info.Dims...)
	if err != nil {
		return t, fmt.Errorf("safetensors: tensor %q: %w", name, err)
	}
	return t, nil
}

// Forget lets the system drop the pages of the tensor called name until they
// are used again; see mmap.File.Forget.
func (f *File) Forget(name string) {
	if raw, err := f.Bytes(name); err == nil && f.mm != nil {
		f.mm.Forget(raw)
	}
}

// Close releases the file. It is idempotent.
func (f *File) Close() error {
	if f.mm == nil {
		return nil
	}
	return f.mm.Close()
}
