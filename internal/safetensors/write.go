package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
)

// Entry is a tensor to be written. Load is called once, when its turn comes,
// so that a file of any size is written with one tensor in memory.
type Entry struct {
	Name string
	Elem graph.DType
	Dims []int
	Load func() (graph.Tensor, error)
}

// EntryOf is an Entry for a tensor that is in memory already.
func EntryOf(name string, t graph.Tensor) Entry {
	return Entry{name, t.Elem, t.Dims, func() (graph.Tensor, error) { return t, nil }}
}

// WriteFile writes the tensors to path, all or nothing.
func WriteFile(path string, entries []Entry, metadata map[string]string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := Write(w, entries, metadata); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// Write writes a file. The result depends on names, types and bytes only, not
// on the order of entries: wide element types come first, which keeps every
// tensor aligned, then names ascend. It is byte for byte what the reference
// implementation writes.
func Write(w io.Writer, entries []Entry, metadata map[string]string) error {
	sorted, err := arrange(entries)
	if err != nil {
		return err
	}
	header, err := encodeHeader(sorted, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, e := range sorted {
		t, err := e.Load()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if storedAs(t.Elem) != storedAs(e.Elem) || !slices.Equal(t.Dims, e.Dims) {
			return fmt.Errorf("tensor %q: announced as %v%v, loaded as %v%v", e.Name, e.Elem, e.Dims, t.Elem, t.Dims)
		}
		if want, _ := graph.Count(e.Dims); len(t.Data) != want*e.Elem.Size() {
			return fmt.Errorf("tensor %q: %v%v with %d bytes", e.Name, e.Elem, e.Dims, len(t.Data))
		}
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

// arrange checks the entries and puts them in file order.
func arrange(entries []Entry) ([]Entry, error) {
	sorted := slices.Clone(entries)
	for _, e := range sorted {
		switch {
		case elemRank(e.Elem) < 0:
			return nil, fmt.Errorf("tensor %q: the format has no element type %v", e.Name, e.Elem)
		case e.Name == metadataKey || !utf8.ValidString(e.Name):
			return nil, fmt.Errorf("tensor %q: not a usable name", e.Name)
		}
		if _, err := graph.Count(e.Dims); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
	}
	slices.SortFunc(sorted, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(elemRank(b.Elem), elemRank(a.Elem)), cmp.Compare(a.Name, b.Name))
	})
	seen := make(map[string]bool, len(sorted))
	for _, e := range sorted {
		if seen[e.Name] {
			return nil, fmt.Errorf("tensor %q is given twice", e.Name)
		}
		seen[e.Name] = true
	}
	return sorted, nil
}

// storedAs is the element type whose bytes a file holds for elem.
func storedAs(elem graph.DType) graph.DType {
	if elem == graph.Tern {
		return graph.I8
	}
	return elem
}

func elemRank(elem graph.DType) int {
	for i, e := range elements {
		if e.elem != graph.InvalidDType && e.elem == storedAs(elem) {
			return i
		}
	}
	return -1
}

// encodeHeader returns the length prefix and the JSON text, padded with blanks
// so that the data starts at a multiple of 8.
func encodeHeader(sorted []Entry, metadata map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	buf.Write(make([]byte, 8))
	buf.WriteByte('{')
	sep := ""
	if len(metadata) > 0 {
		buf.WriteString(quote(metadataKey) + ":{")
		for _, k := range slices.Sorted(maps.Keys(metadata)) {
			buf.WriteString(sep + quote(k) + ":" + quote(metadata[k]))
			sep = ","
		}
		buf.WriteByte('}')
	}
	var offset int64
	for _, e := range sorted {
		n, _ := graph.Count(e.Dims) // arrange has checked it
		end := offset + int64(n*e.Elem.Size())
		dims := e.Dims
		if dims == nil {
			dims = []int{}
		}
		shape, err := json.Marshal(dims)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&buf, `%s%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			sep, quote(e.Name), elements[elemRank(e.Elem)].name, shape, offset, end)
		sep = ","
		offset = end
	}
	buf.WriteByte('}')
	for buf.Len()%8 != 0 {
		buf.WriteByte(' ')
	}
	text := buf.Len() - 8
	if text > MaxHeader {
		return nil, fmt.Errorf("header of %d bytes exceeds the format's limit of %d", text, MaxHeader)
	}
	binary.LittleEndian.PutUint64(buf.Bytes(), uint64(text))
	return buf.Bytes(), nil
}

// quote encodes a JSON string without the HTML escapes of json.Marshal.
func quote(s string) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return string(bytes.TrimRight(buf.Bytes(), "\n"))
}
