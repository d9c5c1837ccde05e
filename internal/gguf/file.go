// Package gguf reads and writes GGUF files, versions 2 (read) and 3, as
// llama.cpp and Microsoft's BitNet fork of it write them, and converts their
// tensors: F32, F16, BF16, Q8_0, Q6_K and Q4_0 floats and the ternary types
// I2_S, TQ1_0 and TQ2_0. Format: ggml/docs/gguf.md in ggml-org/ggml.
package gguf

import "fmt"

// File is a whole file in memory, usually mapped. Values and tensors alias it.
type File struct {
	*Header
	data []byte
}

// Parse validates a file.
func Parse(data []byte) (*File, error) {
	h, err := ReadHeader(data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	return &File{h, data}, nil
}

// Bytes returns a tensor's bytes.
func (f *File) Bytes(t Tensor) ([]byte, error) {
	if t.Size < 0 || t.Offset < 0 || t.Offset+t.Size > int64(len(f.data)) {
		return nil, fmt.Errorf("gguf: tensor %q: the extent of %s data is unknown", t.Name, t.Type)
	}
	return f.data[t.Offset : t.Offset+t.Size : t.Offset+t.Size], nil
}
