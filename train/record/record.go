// Package record keeps curves in CSV files (RFC 4180) that survive the death of
// their writer: one row at a time is appended whole, and a run that goes on from
// an earlier step first cuts off what the file says of later ones.
//
// The first line names the columns, the first column is the step, which never
// falls. Numbers are written so that reading them gives the same bits; an empty
// field is a value that is not known.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// StepColumn is the name of the first column.
const StepColumn = "step"

// ErrColumns says that a file has other columns than its writer wants.
var ErrColumns = errors.New("other columns than this program writes")

// Table is a file being written. It is used by one goroutine at a time, but Sync
// may be called by another.
type Table struct {
	f       *os.File
	columns int
	size    int64
	last    []string
	buf     []byte
}

// Open opens the file at path, or makes it with the given columns, the first of
// which is StepColumn. Rows of steps after step, and a last line that was torn,
// are cut off. The error wraps ErrColumns if the file has other columns; it is
// left as it is then.
func Open(path string, columns []string, step int) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	t := &Table{f: f, columns: len(columns)}
	if err := t.start(columns, step); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return t, nil
}

func (t *Table) start(columns []string, step int) error {
	text, err := io.ReadAll(t.f)
	if err != nil {
		return err
	}
	header := strings.Join(columns, ",") + "\n"
	first, rest, whole := bytes.Cut(text, []byte("\n"))
	if !whole || len(text) == 0 {
		// The first line was torn, if there is any.
		if !strings.HasPrefix(header, string(text)) {
			return ErrColumns
		}
		if err := t.f.Truncate(0); err != nil {
			return err
		}
		return t.write([]byte(header))
	}
	if string(first)+"\n" != header {
		return ErrColumns
	}
	t.size = int64(len(header))
	for len(rest) > 0 {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			break
		}
		cells, err := split(string(line))
		if err != nil || len(cells) != t.columns {
			break
		}
		if n, err := strconv.Atoi(cells[0]); err != nil || n > step {
			break
		}
		t.last = cells
		t.size += int64(len(line) + 1)
		rest = after
	}
	return t.f.Truncate(t.size)
}

// Last is the last row that was there when the file was opened, nil if none.
func (t *Table) Last() []string { return slices.Clone(t.last) }

// Append adds a row for a step. If it fails the file is as it was, and later rows
// may be added.
func (t *Table) Append(step int, cells ...string) error {
	if 1+len(cells) != t.columns {
		return fmt.Errorf("%s: a row of %d cells in %d columns", t.f.Name(), 1+len(cells), t.columns)
	}
	t.buf = strconv.AppendInt(t.buf[:0], int64(step), 10)
	for _, c := range cells {
		t.buf = append(t.buf, ',')
		if strings.ContainsAny(c, "\r\n") {
			return fmt.Errorf("%s: a cell with a line break: %q", t.f.Name(), c)
		}
		if strings.ContainsAny(c, `,"`) {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		t.buf = append(t.buf, c...)
	}
	return t.write(append(t.buf, '\n'))
}

func (t *Table) write(line []byte) error {
	n, err := t.f.WriteAt(line, t.size)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, t.f.Truncate(t.size))
		}
		return err
	}
	t.size += int64(n)
	return nil
}

// Sync makes the rows durable.
func (t *Table) Sync() error { return t.f.Sync() }

// Close closes the file.
func (t *Table) Close() error { return t.f.Close() }

// Number is a cell; not-a-number is an unknown value.
func Number(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// split takes a line apart. Cells hold no line breaks.
func split(line string) ([]string, error) {
	line = strings.TrimSuffix(line, "\r")
	var cells []string
	for {
		if !strings.HasPrefix(line, `"`) {
			cell, rest, more := strings.Cut(line, ",")
			if strings.Contains(cell, `"`) {
				return nil, fmt.Errorf("a quote inside the cell %q", cell)
			}
			if cells = append(cells, cell); !more {
				return cells, nil
			}
			line = rest
			continue
		}
		var cell strings.Builder
		for line = line[1:]; ; {
			part, rest, closed := strings.Cut(line, `"`)
			if !closed {
				return nil, errors.New("a quote is not closed")
			}
			cell.WriteString(part)
			if line = rest; !strings.HasPrefix(line, `"`) {
				break
			}
			cell.WriteByte('"')
			line = line[1:]
		}
		cells = append(cells, cell.String())
		if line == "" {
			return cells, nil
		}
		if line[0] != ',' {
			return nil, fmt.Errorf("text behind a quoted cell: %q", line)
		}
		line = line[1:]
	}
}
