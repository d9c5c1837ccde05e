package data

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/models/tokenizer"
)

// Tokenize returns the corpus as token ids, from the cache folder if they are
// there already. Every document is preceded by the separator sep; the text
// itself never yields a special token. progress, if set, is called with the
// bytes of text done.
func (c *Corpus) Tokenize(ctx context.Context, tok *tokenizer.Tokenizer, sep int32, cache string, progress func(done, total int64)) (*Tokens, error) {
	key, err := c.key(tok, sep)
	if err != nil {
		return nil, err
	}
	w := &writer{c: c, ctx: ctx, tok: tok, sep: sep, progress: progress, total: Bytes(c.Train) + Bytes(c.Valid)}
	width := 2
	if tok.VocabSize() > 1<<16 {
		width = 4
	}
	return store(cache, key, width, func(put func([]int32) error) (int, int64, error) {
		return len(c.Train), Bytes(c.Train), w.stream(c.Train, put)
	}, func(put func([]int32) error) (int, int64, error) {
		return len(c.Valid), Bytes(c.Valid), w.stream(c.Valid, put)
	})
}

// store returns the cache file for a key, writing it if it is not there. The
// functions put the ids of a stream and return its documents and its bytes of
// text.
func store(cache, key string, width int, train, valid func(put func([]int32) error) (docs int, size int64, err error)) (*Tokens, error) {
	name := filepath.Join(cache, key[:16]+".tokens")
	if t, err := openTokens(name, key); err == nil {
		return t, nil
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	out, err := atomicfile.Create(name)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer out.Close()
	if _, err := out.Seek(headBytes, io.SeekStart); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	buf := bufio.NewWriterSize(out, 1<<18)
	h := head{Key: key, Width: width}
	if h.Train, err = extentOf(buf, width, train); err == nil {
		h.Valid, err = extentOf(buf, width, valid)
	}
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("data: write %s: %w", name, err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	first := bytes.Repeat([]byte{' '}, headBytes)
	copy(first, magic)
	copy(first[len(magic):], text)
	if _, err := out.WriteAt(first, 0); err != nil {
		return nil, fmt.Errorf("data: write %s: %w", name, err)
	}
	if err := out.Commit(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	t, err := openTokens(name, key)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return t, nil
}

// extentOf writes a stream's ids and describes it.
func extentOf(w io.Writer, width int, fill func(put func([]int32) error) (int, int64, error)) (e extent, err error) {
	sum := sha256.New()
	to := io.MultiWriter(w, sum)
	var raw []byte
	e.Docs, e.Bytes, err = fill(func(ids []int32) error {
		raw = raw[:0]
		for _, id := range ids {
			if width == 2 {
				raw = binary.LittleEndian.AppendUint16(raw, uint16(id))
			} else {
				raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
			}
		}
		e.Tokens += int64(len(ids))
		_, err := to.Write(raw)
		return err
	})
	e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return e, err
}

// key names what the ids depend on: the tokenizer and the list of documents
// with sizes and times. Reading all text to name it would cost as much as
// tokenizing; Tokens.ID, which checkpoints keep, depends on content alone.
func (c *Corpus) key(tok *tokenizer.Tokenizer, sep int32) (string, error) {
	h := sha256.New()
	if err := tok.WriteJSON(h); err != nil {
		return "", err
	}
	fmt.Fprintf(h, "\nseparator %d\n", sep)
	for _, parts := range [][]Part{c.Train, c.Valid} {
		fmt.Fprintf(h, "%d documents\n", len(parts))
		for _, p := range parts {
			fmt.Fprintf(h, "%q %d %d %d\n", p.Rel, p.Off, p.Size, p.modified)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writer turns documents into ids.
type writer struct {
	c           *Corpus
	ctx         context.Context
	tok         *tokenizer.Tokenizer
	sep         int32
	progress    func(done, total int64)
	done, total int64

	text []byte
	ids  []int32
}

func (w *writer) stream(parts []Part, put func([]int32) error) error {
	for _, p := range parts {
		if err := put([]int32{w.sep}); err != nil {
			return err
		}
		err := w.c.read(p, func(r io.Reader) error {
			return chunks(r, &w.text, func(text []byte) error {
				if err := w.ctx.Err(); err != nil {
					return err
				}
				w.ids = w.tok.Encode(w.ids[:0], string(text))
				w.done += int64(len(text))
				if w.progress != nil {
					w.progress(w.done, w.total)
				}
				return put(w.ids)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunkBytes is how much text is encoded at once, where it can be cut.
const chunkBytes = 1 << 20

// chunks hands r's text to f in pieces that end where every tokenizer of this
// project ends a word whatever follows, so that the ids are those of the whole.
// buf is reused memory.
func chunks(r io.Reader, buf *[]byte, f func([]byte) error) error {
	if cap(*buf) < chunkBytes {
		*buf = make([]byte, 0, chunkBytes)
	}
	b := (*buf)[:0]
	defer func() { *buf = b[:0] }()
	for {
		n, err := io.ReadFull(r, b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if len(b) == 0 {
				return nil
			}
			return f(b)
		}
		if err != nil {
			return err
		}
		at := cut(b)
		if at == 0 { // one endless line: take more
			b = append(make([]byte, 0, 2*cap(b)), b...)
			continue
		}
		if err := f(b[:at]); err != nil {
			return err
		}
		b = b[:copy(b, b[at:])]
	}
}

// cut returns the last place behind a line feed that separates two visible
// ASCII characters, 0 if there is none.
func cut(b []byte) int {
	visible := func(c byte) bool { return c > ' ' && c < 0x7f }
	for i := len(b) - 2; i > 0; i-- {
		if b[i] == '\n' && visible(b[i-1]) && visible(b[i+1]) {
			return i + 1
		}
	}
	return 0
}
