package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"unicode/utf8"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	alignmentKey     = "general.alignment"
	archKey          = "general.architecture"
	// maxAlignment is far above every use and keeps sums inside int64.
	maxAlignment = 1 << 24
	maxDims      = 4
	// maxKey is the format's limit. maxName is ggml's, without its final zero.
	maxKey  = 1<<16 - 1
	maxName = 63
	// The least bytes an entry of each table takes.
	minKV     = 8 + 4 + 1
	minTensor = 8 + 4 + 8 + 4 + 8
)

// Tensor describes one tensor of a file.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []int // outermost first, the reverse of the file's order
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // bytes; -1 if the type does not tell
}

// Header is a validated file header.
type Header struct {
	Version   uint32
	Alignment int64
	KV        []KV     // in file order
	Tensors   []Tensor // in file order
	keys      map[string]int
	names     map[string]int
}

// Get returns the metadata value of key.
func (h *Header) Get(key string) (Value, bool) {
	i, ok := h.keys[key]
	if !ok {
		return Value{}, false
	}
	return h.KV[i].Value, true
}

// Tensor returns the description of the tensor called name.
func (h *Header) Tensor(name string) (Tensor, bool) {
	i, ok := h.names[name]
	if !ok {
		return Tensor{}, false
	}
	return h.Tensors[i], true
}

// Architecture is the value of general.architecture, empty if there is none.
func (h *Header) Architecture() string {
	v, _ := h.Get(archKey)
	s, _ := v.Text()
	return s
}

// ReadHeader validates the header at the start of data against a file of size
// bytes; data may be a prefix of it. The error wraps io.ErrUnexpectedEOF if
// the prefix is too short. Values alias data.
func ReadHeader(data []byte, size int64) (*Header, error) {
	r := &reader{data: data, size: size}
	h, err := r.header()
	if err != nil {
		return nil, fmt.Errorf("gguf: offset %d: %w", r.at, err)
	}
	if err := h.place(int64(r.at), size); err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	return h, nil
}

// reader walks the header; at is where the next item starts.
type reader struct {
	data []byte
	at   int
	size int64
}

func (r *reader) left() int { return len(r.data) - r.at }

func (r *reader) take(n int) ([]byte, error) {
	if rest := r.size - int64(r.at); int64(n) > rest {
		return nil, fmt.Errorf("needs %d bytes where the file has %d left", n, rest)
	}
	if n > r.left() {
		return nil, fmt.Errorf("needs %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	b := r.data[r.at : r.at+n : r.at+n]
	r.at += n
	return b, nil
}

func (r *reader) u32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) u64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// text reads a length and that many bytes.
func (r *reader) text(limit uint64) ([]byte, error) {
	n, err := r.u64()
	if err != nil {
		return nil, err
	}
	if n > limit {
		r.at -= 8
		return nil, fmt.Errorf("a text of %d bytes exceeds the limit of %d", n, limit)
	}
	return r.take(int(n))
}

func (r *reader) name(limit uint64) (string, error) {
	b, err := r.text(limit)
	switch {
	case err != nil:
		return "", err
	case len(b) == 0:
		return "", errors.New("empty name")
	case !utf8.Valid(b):
		return "", fmt.Errorf("name %q is not valid UTF-8", b)
	}
	return string(b), nil
}

func (r *reader) header() (*Header, error) {
	nTensors, nKV, h, err := r.prefix()
	if err != nil {
		return nil, err
	}
	h.keys = make(map[string]int)
	for i := range nKV {
		if err := r.kv(h); err != nil {
			return nil, fmt.Errorf("metadata entry %d of %d: %w", i+1, nKV, err)
		}
	}
	if err := h.setAlignment(); err != nil {
		return nil, err
	}
	h.names = make(map[string]int)
	for i := range nTensors {
		if err := r.tensor(h); err != nil {
			return nil, fmt.Errorf("tensor %d of %d: %w", i+1, nTensors, err)
		}
	}
	return h, nil
}

// prefix reads magic, version and counts.
func (r *reader) prefix() (nTensors, nKV int, h *Header, err error) {
	b, err := r.take(4)
	if err != nil {
		return 0, 0, nil, err
	}
	if string(b) != magic {
		r.at = 0
		if string(b) == "FUGG" {
			return 0, 0, nil, errors.New("the file is byte-swapped")
		}
		return 0, 0, nil, fmt.Errorf("starts with %q, not with %q", b, magic)
	}
	h = &Header{}
	if h.Version, err = r.u32(); err != nil {
		return 0, 0, nil, err
	}
	switch v := h.Version; {
	case v == 2 || v == 3:
	case v == 1:
		return 0, 0, nil, errors.New("version 1 is not supported, only 2 and 3; rewrite the file with a converter of llama.cpp")
	case bits.ReverseBytes32(v) <= 16 && v != 0:
		return 0, 0, nil, errors.New("the file is big-endian; only little-endian files are supported")
	default:
		return 0, 0, nil, fmt.Errorf("version %d is not supported, only 2 and 3", v)
	}
	t, err := r.u64()
	if err != nil {
		return 0, 0, nil, err
	}
	k, err := r.u64()
	if err != nil {
		return 0, 0, nil, err
	}
	// Against the file, not the prefix at hand: a longer prefix could hold them.
	room := uint64(r.size) - uint64(r.at)
	if t > room/minTensor {
		return 0, 0, nil, fmt.Errorf("%d tensors cannot be described in a file of %d bytes", t, r.size)
	}
	if k > room/minKV {
		return 0, 0, nil, fmt.Errorf("%d metadata entries cannot lie in a file of %d bytes", k, r.size)
	}
	return int(t), int(k), h, nil
}

func (r *reader) kv(h *Header) error {
	start := r.at
	key, err := r.name(maxKey)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if _, dup := h.keys[key]; dup {
		r.at = start
		return fmt.Errorf("key %q occurs twice", key)
	}
	v, err := r.value()
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	h.keys[key] = len(h.KV)
	h.KV = append(h.KV, KV{key, v})
	return nil
}

func (r *reader) value() (Value, error) {
	n, err := r.u32()
	if err != nil {
		return Value{}, err
	}
	v := Value{Type: ValueType(n)}
	switch {
	case !v.Type.valid():
		return v, fmt.Errorf("unknown value type %d", n)
	case v.Type == TypeString:
		v.raw, err = r.text(math.MaxInt32)
	case v.Type == TypeArray:
		err = r.array(&v)
	default:
		v.raw, err = r.take(v.Type.size())
		if err == nil && v.Type == TypeBool && v.raw[0] > 1 {
			err = fmt.Errorf("boolean of value %d", v.raw[0])
		}
	}
	return v, err
}

// array finds where the elements end without keeping them apart.
func (r *reader) array(v *Value) error {
	n, err := r.u32()
	if err != nil {
		return err
	}
	count, err := r.u64()
	if err != nil {
		return err
	}
	v.Elem = ValueType(n)
	switch {
	case !v.Elem.valid():
		return fmt.Errorf("array of unknown value type %d", n)
	case v.Elem == TypeArray:
		return errors.New("an array of arrays; nesting is not supported")
	}
	least := max(v.Elem.size(), 1)
	if v.Elem == TypeString {
		least = 8
	}
	if count > uint64(r.left()/least) {
		rest := r.size - int64(r.at)
		if count > uint64(rest)/uint64(least) {
			return fmt.Errorf("array of %d %s values where the file has %d bytes left", count, v.Elem, rest)
		}
		return fmt.Errorf("array of %d %s values: %w", count, v.Elem, io.ErrUnexpectedEOF)
	}
	v.Len = int(count)
	start := r.at
	if v.Elem != TypeString {
		v.raw, err = r.take(v.Len * v.Elem.size())
		return err
	}
	for i := range v.Len {
		if _, err := r.text(math.MaxInt32); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	v.raw = r.data[start:r.at:r.at]
	return nil
}

func (h *Header) setAlignment() error {
	h.Alignment = defaultAlignment
	v, ok := h.Get(alignmentKey)
	if !ok {
		return nil
	}
	n, _ := v.Int()
	if v.Type != TypeUint32 || n < 1 || n > maxAlignment || n&(n-1) != 0 {
		return fmt.Errorf("%s is %v of type %v, want a power of two of type u32", alignmentKey, v, v.Type)
	}
	h.Alignment = n
	return nil
}
