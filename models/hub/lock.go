package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// errLocked says that another process, or another part of this one, holds a lock.
var errLocked = errors.New("locked")

// lockFile is a lock that the system releases when its holder dies.
type lockFile struct{ f *os.File }

// tryLock takes the lock at path, shared or exclusive, or returns errLocked.
func tryLock(path string, shared bool) (*lockFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lockOpen(f, shared); err != nil {
		f.Close()
		if !errors.Is(err, errLocked) {
			err = fmt.Errorf("hub: lock %s: %w", path, err)
		}
		return nil, err
	}
	return &lockFile{f}, nil
}

// waitLock waits for an exclusive lock; waiting is called once if it has to.
func waitLock(ctx context.Context, path string, waiting func()) (*lockFile, error) {
	for pause := 10 * time.Millisecond; ; {
		l, err := tryLock(path, false)
		if !errors.Is(err, errLocked) {
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

// release gives the lock back.
func (l *lockFile) release() error { return l.f.Close() }
