package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/trit-ml/trit/graph"
)

const (
	// MaxHeader bounds the JSON header, as the reference implementation does.
	MaxHeader = 100_000_000
	// maxDims bounds a shape; no framework has tensors of higher rank.
	maxDims = 32
	// metadataKey holds free-form strings instead of a tensor.
	metadataKey = "__metadata__"
)

// elements lists every element type of the format: its size in bits and the
// graph type that holds it, invalid where trit has no such type. The position
// is the rank by which the reference implementation orders tensors in a file.
var elements = []struct {
	name string
	bits int
	elem graph.DType
}{
	{"BOOL", 8, graph.InvalidDType},
	{"U8", 8, graph.U8},
	{"I8", 8, graph.I8},
	{"F8_E5M2", 8, graph.InvalidDType},
	{"F8_E4M3", 8, graph.InvalidDType},
	{"I16", 16, graph.InvalidDType},
	{"U16", 16, graph.InvalidDType},
	{"F16", 16, graph.F16},
	{"BF16", 16, graph.BF16},
	{"I32", 32, graph.I32},
	{"U32", 32, graph.InvalidDType},
	{"F32", 32, graph.F32},
	{"F64", 64, graph.F64},
	{"I64", 64, graph.I64},
	{"U64", 64, graph.InvalidDType},
}

// Info describes one tensor of a file.
type Info struct {
	Name  string
	DType string      // the format's name, such as "BF16"
	Elem  graph.DType // graph.InvalidDType if trit cannot hold the type
	Dims  []int
	// Offset is where the bytes start, counted from the start of the file;
	// Size is how many there are.
	Offset, Size int64
}

// Header is the validated description of a file: every tensor lies inside the
// file, none overlap, and nothing is left between them.
type Header struct {
	Tensors  []Info // in the order of their bytes
	Metadata map[string]string
	byName   map[string]int
}

// Info returns the description of the tensor called name.
func (h *Header) Info(name string) (Info, bool) {
	i, ok := h.byName[name]
	if !ok {
		return Info{}, false
	}
	return h.Tensors[i], true
}

// ReadHeader reads and validates the header of a file of size bytes. It reads
// nothing behind the header, so a remote file costs two small requests.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	var prefix [8]byte
	if size < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes are too few for the header's length (8)", size)
	}
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, fmt.Errorf("safetensors: header length: %w", noEOF(err))
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	switch {
	case n > MaxHeader:
		return nil, fmt.Errorf("safetensors: offset 0: header of %d bytes exceeds the limit of %d; is this a safetensors file?", n, MaxHeader)
	case int64(n) > size-8:
		return nil, fmt.Errorf("safetensors: offset 0: header of %d bytes exceeds the file's %d; the file is truncated", n, size)
	case n < 2:
		return nil, fmt.Errorf("safetensors: offset 0: header of %d bytes cannot hold a JSON object", n)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return nil, fmt.Errorf("safetensors: header: %w", noEOF(err))
	}
	h, err := parseHeader(text, size-8-int64(n))
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return h, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseHeader validates the header text against the number of data bytes that
// follow it. It decodes token by token: decoding into structs would silently
// accept duplicate keys, other spellings of keys and invalid UTF-8.
func parseHeader(text []byte, data int64) (*Header, error) {
	if text[0] != '{' {
		return nil, fmt.Errorf("offset 8: the header starts with %q, not with '{'", text[0])
	}
	if !utf8.Valid(text) {
		return nil, errors.New("header: not valid UTF-8")
	}
	base := int64(8 + len(text))
	p := &parser{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	h := &Header{byName: make(map[string]int)}
	err := p.object(func(key string) (err error) {
		if key == metadataKey {
			if h.Metadata, err = p.stringMap(); err != nil {
				return fmt.Errorf("%s: %w", metadataKey, err)
			}
			return nil
		}
		info, err := p.tensor(key, data)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		info.Offset += base
		h.Tensors = append(h.Tensors, info)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("header at offset %d: %w", 8+p.dec.InputOffset(), err)
	}
	if rest := bytes.TrimRight(text[p.dec.InputOffset():], " \t\r\n\x00"); len(rest) > 0 {
		return nil, fmt.Errorf("header at offset %d: data after the closing brace", 8+p.dec.InputOffset())
	}
	return h, h.checkCover(base, data)
}

// checkCover demands that the tensors cover the data without gap or overlap.
func (h *Header) checkCover(base, data int64) error {
	slices.SortStableFunc(h.Tensors, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	next := base
	for i, t := range h.Tensors {
		switch {
		case t.Offset < next:
			return fmt.Errorf("tensor %q: starts at offset %d, inside tensor %q which ends at %d", t.Name, t.Offset, h.Tensors[i-1].Name, next)
		case t.Offset > next:
			return fmt.Errorf("tensor %q: starts at offset %d, but the bytes from %d on belong to no tensor", t.Name, t.Offset, next)
		}
		next = t.Offset + t.Size
		h.byName[t.Name] = i
	}
	if next != base+data {
		return fmt.Errorf("%d bytes at offset %d belong to no tensor", base+data-next, next)
	}
	return nil
}

type parser struct{ dec *json.Decoder }

// object reads { and calls field for every key; field consumes the value.
func (p *parser) object(field func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for p.dec.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q occurs twice", key)
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p *parser) delim(want json.Delim) error {
	tok, err := p.dec.Token()
	if err != nil {
		return noEOF(err)
	}
	if tok != want {
		return fmt.Errorf("found %v where %q belongs", tok, rune(want))
	}
	return nil
}

func (p *parser) string() (string, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return "", noEOF(err)
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("found %v where a string belongs", tok)
	}
	return s, nil
}

func (p *parser) stringMap() (map[string]string, error) {
	m := make(map[string]string)
	err := p.object(func(key string) (err error) {
		m[key], err = p.string()
		return err
	})
	return m, err
}

// ints reads an array of at most limit non-negative integers.
func (p *parser) ints(limit int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	out := []int64{}
	for p.dec.More() {
		if len(out) == limit {
			return nil, fmt.Errorf("more than %d numbers", limit)
		}
		tok, err := p.dec.Token()
		if err != nil {
			return nil, noEOF(err)
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, fmt.Errorf("found %v where a number belongs", tok)
		}
		v, err := num.Int64()
		if err != nil || v < 0 {
			return nil, fmt.Errorf("%s is not a non-negative integer", num)
		}
		out = append(out, v)
	}
	return out, p.delim(']')
}

// tensor reads one description. Info.Offset is relative to the data here.
func (p *parser) tensor(name string, data int64) (Info, error) {
	info := Info{Name: name}
	var shape, span []int64
	err := p.object(func(key string) (err error) {
		switch key {
		case "dtype":
			info.DType, err = p.string()
		case "shape":
			shape, err = p.ints(maxDims)
		case "data_offsets":
			span, err = p.ints(2)
		default:
			return fmt.Errorf("unknown field %q", key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return info, err
	case info.DType == "" || shape == nil || len(span) != 2:
		return info, errors.New("needs dtype, shape and two data_offsets")
	case span[0] > span[1] || span[1] > data:
		return info, fmt.Errorf("data_offsets %d do not lie in the file's %d data bytes", span, data)
	}
	rank := elementRank(info.DType)
	if rank < 0 {
		return info, fmt.Errorf("unknown dtype %q", info.DType)
	}
	info.Elem = elements[rank].elem
	info.Dims = make([]int, len(shape))
	for i, d := range shape {
		if d > math.MaxInt32 {
			return info, fmt.Errorf("shape %d: extent %d is absurd", shape, d)
		}
		info.Dims[i] = int(d)
	}
	n, err := graph.Count(info.Dims)
	if err != nil {
		return info, err
	}
	info.Offset, info.Size = span[0], span[1]-span[0]
	if want := int64(n) * int64(elements[rank].bits) / 8; want != info.Size {
		return info, fmt.Errorf("%s%v takes %d bytes, data_offsets span %d", info.DType, info.Dims, want, info.Size)
	}
	return info, nil
}

func elementRank(name string) int {
	for i, e := range elements {
		if e.name == name {
			return i
		}
	}
	return -1
}
