package data

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/models/tokenizer"
)

func all(s *Stream) []int32 {
	ids := make([]int32, s.Len())
	s.Read(ids, 0)
	return ids
}

// TestTokenize compares with encoding each file as a whole, and checks that a
// damaged cache is not used.
func TestTokenize(t *testing.T) {
	files := map[string]string{}
	rng := rand.New(rand.NewPCG(1, 1))
	words := []string{"func ", "return", "\n", "\n\n", "\t", "x", "é", "12345", " ", "<|end_of_text|>", "(b *Buffer)", "\r\n"}
	for _, name := range []string{"a", "b", "c/d", "e", "f", "g"} {
		var b strings.Builder
		for range 400 + rng.IntN(400) {
			b.WriteString(words[rng.IntN(len(words))])
		}
		files[name] = b.String()
	}
	// Larger than one piece of encoding.
	files["big"] = strings.Repeat("package data\n\nfunc f() int { return 12345 }\n// wörter\n", 40000)
	dir := write(t, files)
	c, err := Scan(Config{Path: dir, Holdout: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := c.Learn(t.Context(), 300, tokenizer.SplitLlama3, nil)
	if err != nil {
		t.Fatal(err)
	}
	sep := tok.Special(Separator)
	cache := t.TempDir()
	open := func() *Tokens {
		t.Helper()
		var last int64
		ts, err := c.Tokenize(t.Context(), tok, sep, cache, func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress %d after %d, of %d", done, last, total)
			}
			last = done
		})
		if err != nil {
			t.Fatal(err)
		}
		return ts
	}
	ts := open()
	id := ts.ID
	for _, side := range []struct {
		parts []Part
		s     *Stream
	}{{c.Train, &ts.Train}, {c.Valid, &ts.Valid}} {
		var want []int32
		for _, p := range side.parts {
			want = tok.Encode(append(want, sep), files[p.Rel])
		}
		if d := cmp.Diff(want, all(side.s)); d != "" {
			t.Errorf("ids differ: %.300s", d)
		}
		if side.s.Bytes() != Bytes(side.parts) || side.s.Docs() != len(side.parts) {
			t.Errorf("%d bytes in %d documents", side.s.Bytes(), side.s.Docs())
		}
	}
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("cache holds %v, %v", names, err)
	}
	good, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	damage := func(f func(b []byte) []byte) {
		t.Helper()
		if err := os.WriteFile(names[0], f(append([]byte(nil), good...)), 0o666); err != nil {
			t.Fatal(err)
		}
		ts := open()
		defer ts.Close()
		now, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if ts.ID != id || string(now) != string(good) {
			t.Error("a damaged cache is not made again")
		}
	}
	damage(func(b []byte) []byte { return b[:len(b)-2] })
	damage(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	damage(func(b []byte) []byte { b[3] ^= 1; return b })
	damage(func(b []byte) []byte { b[headBytes] ^= 1; return b })
	damage(func(b []byte) []byte { return append(b, 0, 0) })
	damage(func(b []byte) []byte { return nil })
	damage(func(b []byte) []byte { b[20] ^= 4; return b })

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Tokenize(cancelled, tok, sep, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), []byte("short"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Tokenize(t.Context(), tok, sep, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a file that shrank: %v", err)
	}
}

// stream is a stream over ids in memory.
func stream(ids ...int32) *Stream {
	s := &Stream{width: 2}
	for _, id := range ids {
		s.data = append(s.data, byte(id), byte(id>>8))
	}
	return s
}
