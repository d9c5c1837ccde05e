// Package atomicfile replaces files and creates folders so that a reader, or
// the machine after a crash, sees the old content or the new and nothing
// between: write beside the target, flush to disk, rename, flush the folder.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// File is a file being written. Nothing exists under the target's name until
// Commit; Close without Commit leaves no trace.
type File struct {
	f      *os.File
	target string
	done   bool
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	if err := intercepted(OpWrite, f.target); err != nil {
		return 0, err
	}
	return f.f.Write(p)
}

// WriteAt writes at an offset; see [os.File.WriteAt].
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := intercepted(OpWrite, f.target); err != nil {
		return 0, err
	}
	return f.f.WriteAt(p, off)
}

// Seek sets where the next Write writes; see [os.File.Seek].
func (f *File) Seek(off int64, whence int) (int64, error) { return f.f.Seek(off, whence) }

// Name is where the content lies before Commit.
func (f *File) Name() string { return f.f.Name() }

// Create starts writing the file that will be called path, in the same folder.
func Create(path string) (*File, error) {
	var f *os.File
	err := unusedName(path, func(name string) (err error) {
		if err := intercepted(OpCreate, name); err != nil {
			return err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &File{f: f, target: path}, nil
}

// tmpMark is part of the names of what is being written.
const tmpMark = ".tmp-"

// unusedName calls create with names beside path until one is free. Unlike
// os.CreateTemp it leaves the permissions to the caller and the umask: what is
// written here gets published.
func unusedName(path string, create func(name string) error) error {
	dir, base := filepath.Split(path)
	for range 1000 {
		err := create(filepath.Join(dir, fmt.Sprintf(".%s%s%08x", base, tmpMark, rand.Uint32())))
		if !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s: no free temporary name beside it", path)
}

// Commit flushes the content and gives it its name, replacing an older file.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("%s: %w", f.target, os.ErrClosed)
	}
	f.done = true
	err := intercepted(OpSync, f.target)
	if err == nil {
		err = f.f.Sync()
	}
	if cerr := f.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = rename(f.Name(), f.target)
	}
	if err != nil {
		remove(f.Name())
		return fmt.Errorf("write %s: %w", f.target, err)
	}
	return flush(filepath.Dir(f.target))
}

// Close discards the file unless it was committed, so it can be deferred.
func (f *File) Close() error {
	if f.done {
		return nil
	}
	f.done = true
	err := f.f.Close()
	if rerr := remove(f.Name()); err == nil {
		err = rerr
	}
	return err
}

// WriteFile replaces the content of path by data.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

// Dir is a folder being filled. It appears under its name, complete, at Commit.
type Dir struct {
	tmp, target string
	replace     bool
	done        bool
}

// CreateDir starts the folder that will be called path. A folder cannot be
// replaced in one step, so path must not exist, or be an empty folder.
func CreateDir(path string) (*Dir, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	return startDir(path)
}

// ReplaceDir is CreateDir for a folder that may exist: Commit moves the old one
// away before the new one gets its name, and removes it after. So the old
// content is lost only when the new is complete, but there is a moment in which
// neither has the name.
func ReplaceDir(path string) (*Dir, error) {
	d, err := startDir(path)
	if err == nil {
		d.replace = true
	}
	return d, err
}

// JoinDir is ReplaceDir for a folder that several processes fill together: those
// that name the same path and mark share one. One of them commits, when it knows
// that the others have finished; none of them may be at work on an earlier one.
func JoinDir(path, mark string) (*Dir, error) {
	path = filepath.Clean(path)
	dir, base := filepath.Split(path)
	d := &Dir{tmp: filepath.Join(dir, "."+base+tmpMark+mark), target: path, replace: true}
	if err := intercepted(OpMkdir, d.tmp); err != nil {
		return nil, err
	}
	return d, os.MkdirAll(d.tmp, 0o777)
}

// Leave ends this process's part of a folder of JoinDir.
func (d *Dir) Leave() { d.done = true }

func startDir(path string) (*Dir, error) {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	var tmp string
	err := unusedName(path, func(name string) error {
		tmp = name
		return mkdir(name)
	})
	if err != nil {
		return nil, err
	}
	return &Dir{tmp: tmp, target: path}, nil
}

// Path is where the entry called name is to be written before Commit.
func (d *Dir) Path(name string) string { return filepath.Join(d.tmp, name) }

// Commit gives the folder its name. The files in it must have been flushed,
// as Commit and WriteFile of this package do.
func (d *Dir) Commit() error {
	if d.done {
		return fmt.Errorf("%s: %w", d.target, os.ErrClosed)
	}
	if err := flush(d.tmp); err != nil {
		return err
	}
	if d.replace {
		if err := RemoveAll(d.target); err != nil {
			return err
		}
	}
	if err := vacant(d.target); err != nil {
		return err
	}
	// An empty folder in the way is removed: rename replaces it on Unix only.
	if err := remove(d.target); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := rename(d.tmp, d.target); err != nil {
		return err
	}
	d.done = true
	return flush(filepath.Dir(d.target))
}

// Close discards the folder unless it was committed.
func (d *Dir) Close() error {
	if d.done {
		return nil
	}
	d.done = true
	return removeAll(d.tmp)
}

// RemoveAll removes a folder, which is under its name complete or not at all:
// it gets another name first.
func RemoveAll(path string) error {
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return nil
	}
	var away string
	err := unusedName(path, func(name string) error {
		away = name
		if _, err := os.Lstat(name); err == nil {
			return os.ErrExist
		}
		return rename(path, name)
	})
	if err != nil {
		return err
	}
	return removeAll(away)
}

// Link gives the file from a second name, replacing an older file there; where
// links are not possible it copies.
func Link(from, to string) error {
	// Renaming one link over another of the same file does nothing.
	if a, err := os.Stat(from); err == nil {
		if b, err := os.Stat(to); err == nil && os.SameFile(a, b) {
			return nil
		}
	}
	var tmp string
	err := unusedName(to, func(name string) error {
		tmp = name
		if err := intercepted(OpLink, to); err != nil {
			return err
		}
		return os.Link(from, name)
	})
	if err == nil {
		if err := rename(tmp, to); err != nil {
			remove(tmp)
			return err
		}
		return flush(filepath.Dir(to))
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return dst.Commit()
}

// Sweep removes from a folder what a killed process was writing there with this
// package. No other process may be writing there now.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), tmpMark) {
			if err := removeAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush makes what happened to the names in a folder survive a crash.
func flush(dir string) error {
	if err := intercepted(OpSync, dir); err != nil {
		return err
	}
	return syncDir(dir)
}

func mkdir(path string) error {
	if err := intercepted(OpMkdir, path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o777)
}

func rename(from, to string) error {
	if err := intercepted(OpRename, to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func remove(path string) error {
	if err := intercepted(OpRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

func removeAll(path string) error {
	if err := intercepted(OpRemove, path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func vacant(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s: %w and is not empty; remove it or choose another name", path, os.ErrExist)
	}
	return nil
}
