package tfevents

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestChecksum: the CRC-32C of RFC 3720, B.4, and its mask undone.
func TestChecksum(t *testing.T) {
	for _, v := range []struct {
		data []byte
		want uint32
	}{{make([]byte, 32), 0x8a9136aa}, {[]byte("123456789"), 0xe3069283}} {
		rot := masked(v.data) - 0xa282ead8
		if got := rot>>17 | rot<<15; got != v.want {
			t.Errorf("crc %08x, want %08x", got, v.want)
		}
	}
}

// TestBytes holds the encoding to bytes put together from the format's
// description by hand.
func TestBytes(t *testing.T) {
	got := appendEvent(nil, &Event{WallTime: 1.5, Step: 300, Scalars: []Scalar{{"a/b", 0.25}}})
	want := "09" + "000000000000f83f" + // 1: fixed64 1.5
		"10" + "ac02" + // 2: varint 300
		"2a" + "0c" + // 5: 12 bytes
		"0a" + "0a" + // 1: 10 bytes
		"0a" + "03" + hex.EncodeToString([]byte("a/b")) + // 1: tag
		"15" + "0000803e" // 2: fixed32 0.25
	if s := hex.EncodeToString(got); s != want {
		t.Errorf("encoded %s, want %s", s, want)
	}
	got = appendEvent(nil, &Event{Step: 7, Start: true})
	if s, want := hex.EncodeToString(got), "09"+strings.Repeat("0", 16)+"10"+"07"+"3a"+"02"+"08"+"01"; s != want {
		t.Errorf("encoded %s, want %s", s, want)
	}
}

// TestFile writes a file and reads it back, frame by frame.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, 10)
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return time.UnixMicro(2500000) }
	for step := range int64(3) {
		if err := w.Add(11+step, []Scalar{{"loss", float32(step) / 3}, {"norm", float32(math.Inf(1))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if other, err := Create(dir, 0); err != nil || other.Name() == w.Name() || !strings.HasPrefix(filepath.Base(w.Name()), "events.out.tfevents.") {
		t.Errorf("%v; a second file is called %s, the first %s", err, other.Name(), w.Name())
	}
	file, err := os.ReadFile(w.Name())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(file)
	if err != nil || len(got) != 5 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	if got[0].Version != Version || !got[1].Start || got[1].Step != 11 {
		t.Errorf("the file begins with %+v", got[:2])
	}
	want := Event{WallTime: 2.5, Step: 13, Scalars: []Scalar{{"loss", float32(2) / 3}, {"norm", float32(math.Inf(1))}}}
	if d := cmp.Diff(want, got[4]); d != "" {
		t.Error(d)
	}
	// Every torn file gives the whole frames before the tear, every damaged one
	// those before the damage.
	for n := range file {
		events, err := Parse(file[:n])
		if n == 0 {
			continue
		}
		whole := 0
		for rest := file[:n]; len(rest) >= 16; whole++ {
			size := int(binary.LittleEndian.Uint64(rest)) + 16
			if size > len(rest) {
				break
			}
			rest = rest[size:]
		}
		if len(events) != whole || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %d events, want %d: %v", n, len(file), len(events), whole, err)
		}
		bad := append([]byte(nil), file...)
		bad[n] ^= 0x10
		if events, err := Parse(bad); err == nil || len(events) == 5 {
			t.Fatalf("a changed byte at %d goes unnoticed", n)
		}
	}
}

func FuzzParse(f *testing.F) {
	w := appendFrame(nil, appendEvent(nil, &Event{Version: Version}))
	f.Add(appendFrame(w, appendEvent(nil, &Event{Step: 3, Scalars: []Scalar{{"x", 1}}})), []byte{0x2a, 0x80, 0x01})
	f.Add([]byte(nil), appendEvent(nil, &Event{WallTime: 3, Step: -1, Start: true}))
	f.Fuzz(func(t *testing.T, file, msg []byte) {
		Parse(file)
		// Most mutations break a checksum: messages are tried on their own.
		e, err := parseEvent(msg)
		if err != nil {
			return
		}
		// The writer writes one kind of content to an event.
		if e.Version != "" {
			e.Start, e.Scalars = false, nil
		} else if e.Start {
			e.Scalars = nil
		}
		again, err := parseEvent(appendEvent(nil, &e))
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(e, again, cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
			cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
