package tfevents

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Writer appends events to a file. It is used by one goroutine at a time.
type Writer struct {
	f   *os.File
	buf []byte
	msg []byte
	now func() time.Time
}

// Create makes a new file in dir, with a name by which TensorBoard knows it, for
// a session that goes on after step: what files of earlier sessions in dir say
// of later steps is void.
func Create(dir string, step int64) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	w := &Writer{now: time.Now}
	for n := 0; ; n++ {
		// TensorBoard reads the files of a folder in the order of their names.
		name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d.%d", w.now().Unix(), host, os.Getpid(), n)
		w.f, err = os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) || n > 1000 {
			return nil, err
		}
	}
	if err := errors.Join(w.add(Event{Version: Version}), w.add(Event{Step: step + 1, Start: true}), w.Flush()); err != nil {
		return nil, errors.Join(err, w.f.Close())
	}
	return w, nil
}

// Name is the file's path.
func (w *Writer) Name() string { return w.f.Name() }

// Add appends the scalars of a step. They are in memory until Flush.
func (w *Writer) Add(step int64, scalars []Scalar) error {
	return w.add(Event{Step: step, Scalars: scalars})
}

func (w *Writer) add(e Event) error {
	e.WallTime = float64(w.now().UnixMicro()) / 1e6
	w.msg = appendEvent(w.msg[:0], &e)
	w.buf = appendFrame(w.buf, w.msg)
	if len(w.buf) > 1<<16 {
		return w.Flush()
	}
	return nil
}

// Flush hands what was added to the system. After an error the file is as long
// as before, where the system allows, and what was added is dropped.
func (w *Writer) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.f.Write(w.buf)
	if err != nil && n > 0 {
		// A torn frame would hide all that follow it.
		if at, serr := w.f.Seek(0, io.SeekCurrent); serr == nil {
			if terr := w.f.Truncate(at - int64(n)); terr == nil {
				w.f.Seek(at-int64(n), io.SeekStart)
			}
		}
	}
	w.buf = w.buf[:0]
	return err
}

// Close flushes and closes the file.
func (w *Writer) Close() error { return errors.Join(w.Flush(), w.f.Close()) }

// Parse reads the events of a file. Where the file is damaged or torn it returns
// those before, and an error that says where; that of a torn file, such as one
// that is being written, wraps io.ErrUnexpectedEOF.
func Parse(file []byte) ([]Event, error) {
	var events []Event
	for rest := file; len(rest) > 0; {
		off := len(file) - len(rest)
		data, after, err := frame(rest, off)
		if err != nil {
			return events, fmt.Errorf("tfevents: %w", err)
		}
		e, err := parseEvent(data)
		if err != nil {
			return events, fmt.Errorf("tfevents: event at offset %d: %w", off, err)
		}
		events = append(events, e)
		rest = after
	}
	return events, nil
}
