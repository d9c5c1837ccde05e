// Package filelock locks files between processes, with locks that the system
// releases when their holder dies: a lock is never stale. A lock file stays
// where it is after its release; removing it would let two processes hold locks
// on two files of one name.
package filelock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrLocked says that another process, or another part of this one, holds a lock.
var ErrLocked = errors.New("locked")

// Lock is a lock held.
type Lock struct{ f *os.File }

// Try takes the lock at path, shared or exclusive, making the file and its
// folder if needed. The error is ErrLocked, as it is, if it is held.
func Try(path string, shared bool) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lockOpen(f, shared); err != nil {
		f.Close()
		if !errors.Is(err, ErrLocked) {
			err = fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, err
	}
	return &Lock{f}, nil
}

// Wait waits for an exclusive lock; waiting is called once if it has to.
func Wait(ctx context.Context, path string, waiting func()) (*Lock, error) {
	for pause := 10 * time.Millisecond; ; {
		l, err := Try(path, false)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.f.Close() }

// maxNote bounds what a holder may say.
const maxNote = 1 << 10

// SetNote leaves a word for those who find the lock taken. It is behind the
// first byte, which Windows lets nobody else read while it is locked.
func (l *Lock) SetNote(note string) error {
	if len(note) > maxNote {
		return fmt.Errorf("lock %s: a note of %d bytes, at most %d are allowed", l.f.Name(), len(note), maxNote)
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(" "+note+"\n"), 0)
	return err
}

// Note returns what the holder of the lock at path said, empty if nothing.
func Note(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.NewSectionReader(f, 1, maxNote))
	return string(bytes.TrimSpace(text))
}
