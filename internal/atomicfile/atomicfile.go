// Package atomicfile replaces files and creates folders so that a reader, or
// the machine after a crash, sees the old content or the new and nothing
// between: write beside the target, flush to disk, rename, flush the folder.
package atomicfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// File is a file being written. Nothing exists under the target's name until
// Commit; Close without Commit leaves no trace.
type File struct {
	*os.File
	target string
	done   bool
}

// Create starts writing the file that will be called path, in the same folder.
func Create(path string) (*File, error) {
	var f *os.File
	err := unusedName(path, func(name string) (err error) {
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &File{File: f, target: path}, nil
}

// unusedName calls create with names beside path until one is free. Unlike
// os.CreateTemp it leaves the permissions to the caller and the umask: what is
// written here gets published.
func unusedName(path string, create func(name string) error) error {
	dir, base := filepath.Split(path)
	for range 1000 {
		err := create(filepath.Join(dir, fmt.Sprintf(".%s.tmp-%08x", base, rand.Uint32())))
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
	err := f.Sync()
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), f.target)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", f.target, err)
	}
	return syncDir(filepath.Dir(f.target))
}

// Close discards the file unless it was committed, so it can be deferred.
func (f *File) Close() error {
	if f.done {
		return nil
	}
	f.done = true
	err := f.File.Close()
	if rerr := os.Remove(f.Name()); err == nil {
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
	done        bool
}

// CreateDir starts the folder that will be called path. A folder cannot be
// replaced in one step, so path must not exist, or be an empty folder.
func CreateDir(path string) (*Dir, error) {
	path = filepath.Clean(path)
	if err := vacant(path); err != nil {
		return nil, err
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	var tmp string
	err := unusedName(path, func(name string) error {
		tmp = name
		return os.Mkdir(name, 0o777)
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
	if err := vacant(d.target); err != nil {
		return err
	}
	if err := syncDir(d.tmp); err != nil {
		return err
	}
	// An empty folder in the way is removed: rename replaces it on Unix only.
	if err := os.Remove(d.target); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(d.tmp, d.target); err != nil {
		return err
	}
	d.done = true
	return syncDir(filepath.Dir(d.target))
}

// Close discards the folder unless it was committed.
func (d *Dir) Close() error {
	if d.done {
		return nil
	}
	d.done = true
	return os.RemoveAll(d.tmp)
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
