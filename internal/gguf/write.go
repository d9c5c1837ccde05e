package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Entry is a tensor to be written. Load is called once, in the order of the
// entries, and returns the bytes of the tensor's type.
type Entry struct {
	Name string
	Type Type
	Dims []int // outermost first
	Load func() ([]byte, error)
}

// Write writes a version 3 file with the default alignment, one tensor at a
// time.
func Write(w io.Writer, kv []KV, entries []Entry) error {
	head, err := encodeHeader(kv, entries)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, e := range entries {
		want, _ := Size(e.Type, e.Dims) // encodeHeader has checked it
		b, err := e.Load()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if int64(len(b)) != want {
			return fmt.Errorf("tensor %q: %d bytes, %s%v takes %d", e.Name, len(b), e.Type, e.Dims, want)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if _, err := w.Write(zeros[:aligned(want)-want]); err != nil {
			return err
		}
	}
	return nil
}

var zeros [defaultAlignment]byte

func aligned(n int64) int64 {
	return (n + defaultAlignment - 1) / defaultAlignment * defaultAlignment
}

func encodeHeader(kv []KV, entries []Entry) ([]byte, error) {
	var buf bytes.Buffer
	u32 := func(n uint32) { buf.Write(binary.LittleEndian.AppendUint32(nil, n)) }
	u64 := func(n uint64) { buf.Write(binary.LittleEndian.AppendUint64(nil, n)) }
	text := func(s string) { u64(uint64(len(s))); buf.WriteString(s) }
	buf.WriteString(magic)
	u32(3)
	u64(uint64(len(entries)))
	u64(uint64(len(kv)))
	seen := make(map[string]bool)
	for _, e := range kv {
		if !usable(e.Key, maxKey) || seen[e.Key] || e.Key == alignmentKey {
			return nil, fmt.Errorf("metadata key %q cannot be written, or occurs twice", e.Key)
		}
		seen[e.Key] = true
		text(e.Key)
		u32(uint32(e.Value.Type))
		switch e.Value.Type {
		case TypeArray:
			u32(uint32(e.Value.Elem))
			u64(uint64(e.Value.Len))
		case TypeString:
			u64(uint64(len(e.Value.raw)))
		}
		buf.Write(e.Value.raw)
	}
	clear(seen)
	var offset int64
	for _, e := range entries {
		if !usable(e.Name, maxName) || seen[e.Name] || len(e.Dims) > maxDims {
			return nil, fmt.Errorf("tensor %q%v cannot be written, or occurs twice", e.Name, e.Dims)
		}
		seen[e.Name] = true
		size, err := Size(e.Type, e.Dims)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		text(e.Name)
		u32(uint32(len(e.Dims)))
		for i := len(e.Dims) - 1; i >= 0; i-- {
			u64(uint64(e.Dims[i]))
		}
		u32(uint32(e.Type))
		u64(uint64(offset))
		offset += aligned(size)
	}
	buf.Write(zeros[:aligned(int64(buf.Len()))-int64(buf.Len())])
	return buf.Bytes(), nil
}

func usable(name string, limit int) bool {
	return name != "" && len(name) <= limit && utf8.ValidString(name)
}
