package data

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/models/tokenizer"
)

// FuzzTokens: no bytes make the cache reader panic or read outside of them.
func FuzzTokens(f *testing.F) {
	dir := f.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text of "+name), 0o666); err != nil {
			f.Fatal(err)
		}
	}
	c, err := Scan(Config{Path: dir, Holdout: 0.4})
	if err != nil {
		f.Fatal(err)
	}
	tok, err := tokenizer.NewBytes(Separator)
	if err != nil {
		f.Fatal(err)
	}
	cache := f.TempDir()
	ts, err := c.Tokenize(f.Context(), tok, 256, cache, nil)
	if err != nil {
		f.Fatal(err)
	}
	data := append([]byte(nil), ts.file.Bytes()...)
	if err := ts.Close(); err != nil {
		f.Fatal(err)
	}
	key, err := c.key(tok, 256)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := parseTokens(data, key); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:headBytes])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, err := parseTokens(b, key)
		if err != nil {
			return
		}
		for _, s := range []*Stream{&ts.Train, &ts.Valid} {
			s.Read(make([]int32, s.Len()), 0)
		}
	})
}
