// Package jsonl reads files of one JSON value a line, and appends to those that
// a killed process may have left with half a line.
package jsonl

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// longest bounds a line, so that a file that is not JSONL is refused instead of
// being read into memory.
const longest = 64 << 20

// Reader reads a file line by line.
type Reader struct {
	name string
	s    *bufio.Scanner
	line int
}

// NewReader returns a reader; name is the file's, for errors.
func NewReader(name string, r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), longest)
	return &Reader{name: name, s: s}
}

// Next decodes the next line that is not empty into v, and reports whether
// there was one. Errors name the file and the line.
func (r *Reader) Next(v any) (bool, error) {
	for r.s.Scan() {
		r.line++
		if len(r.s.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(r.s.Bytes(), v); err != nil {
			return false, r.Errorf("%w", err)
		}
		return true, nil
	}
	if err := r.s.Err(); err != nil {
		r.line++
		return false, r.Errorf("%w", err)
	}
	return false, nil
}

// Line is the number of the line that Next decoded, from 1.
func (r *Reader) Line() int { return r.line }

// Errorf is an error about the line that Next decoded.
func (r *Reader) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{r.name, r.line}, args...)...)
}

// Append opens a file to add lines, making it if need be. old is called with
// each line that it has; its error, with the place, ends the opening. A last
// line without a line break was being written when a process died, and is cut
// off.
func Append(path string, old func(line []byte) error) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*os.File, error) { return nil, errors.Join(err, f.Close()) }
	r := bufio.NewReaderSize(f, 1<<16)
	good, n := int64(0), 0
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		n++
		if err == nil {
			err = old(line)
		}
		if err != nil {
			return fail(fmt.Errorf("%s:%d: %w", path, n, err))
		}
		good += int64(len(line))
	}
	if err := f.Truncate(good); err != nil {
		return fail(err)
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return fail(err)
	}
	return f, nil
}
