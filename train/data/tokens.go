package data

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"crypto/sha256"

	"github.com/trit-ml/trit/internal/mmap"
)

// Stream is a sequence of token ids in a mapped file.
type Stream struct {
	data  []byte
	width int // bytes an id takes: 2 or 4
	bytes int64
	docs  int
}

// Len is the number of tokens, separators included.
func (s *Stream) Len() int { return len(s.data) / s.width }

// Bytes is the size of the text that the tokens stand for.
func (s *Stream) Bytes() int64 { return s.bytes }

// Docs is the number of documents.
func (s *Stream) Docs() int { return s.docs }

// Read copies the tokens that start at position at into dst.
func (s *Stream) Read(dst []int32, at int) {
	if s.width == 2 {
		b := s.data[2*at : 2*(at+len(dst))]
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint16(b[2*i:]))
		}
		return
	}
	b := s.data[4*at : 4*(at+len(dst))]
	for i := range dst {
		dst[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

// Tokens is a tokenized corpus. Streams must not be used after Close.
type Tokens struct {
	Train, Valid Stream
	// ID identifies the tokens: equal IDs mean equal training and validation
	// streams.
	ID string

	file *mmap.File
}

// Close unmaps the cache file.
func (t *Tokens) Close() error { return t.file.Close() }

// A cache file is magic, a JSON head padded with blanks to headBytes, the
// training ids and the validation ids, little-endian.
const (
	magic     = "tritids1"
	headBytes = 4096
)

// head describes a cache file.
type head struct {
	Key   string   `json:"key"` // of what it was made from
	Width int      `json:"width"`
	Train extent   `json:"train"`
	Valid extent   `json:"valid"`
	_     struct{} // keep literals keyed
}

type extent struct {
	Tokens int64  `json:"tokens"`
	Bytes  int64  `json:"bytes"`
	Docs   int    `json:"docs"`
	SHA256 string `json:"sha256"`
}

// openTokens maps a cache file and checks all of it: it may come from a crashed
// machine or another version.
func openTokens(name, key string) (*Tokens, error) {
	f, err := mmap.Open(name)
	if err != nil {
		return nil, err
	}
	t, err := parseTokens(f.Bytes(), key)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t.file = f
	return t, nil
}

func parseTokens(data []byte, key string) (*Tokens, error) {
	if len(data) < headBytes || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("not a token file")
	}
	var h head
	if err := json.Unmarshal(data[len(magic):headBytes], &h); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	if h.Key != key {
		return nil, fmt.Errorf("made from other texts")
	}
	rest := data[headBytes:]
	if h.Width != 2 && h.Width != 4 {
		return nil, fmt.Errorf("ids of %d bytes", h.Width)
	}
	t := &Tokens{ID: h.Train.SHA256 + h.Valid.SHA256}
	for _, part := range []struct {
		s *Stream
		e extent
	}{{&t.Train, h.Train}, {&t.Valid, h.Valid}} {
		if part.e.Tokens < 0 || part.e.Tokens > math.MaxInt64/4 || int64(h.Width)*part.e.Tokens > int64(len(rest)) {
			return nil, fmt.Errorf("%d bytes cannot hold %d ids", len(rest), part.e.Tokens)
		}
		n := int64(h.Width) * part.e.Tokens
		sum := sha256.Sum256(rest[:n])
		if hex.EncodeToString(sum[:]) != part.e.SHA256 {
			return nil, fmt.Errorf("the ids are damaged")
		}
		*part.s = Stream{data: rest[:n:n], width: h.Width, bytes: part.e.Bytes, docs: part.e.Docs}
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes too many", len(rest))
	}
	return t, nil
}
