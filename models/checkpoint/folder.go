package checkpoint

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/trit-ml/trit/internal/mmap"
)

// maxSmallFile bounds companion files, which are read whole: tokenizer.json of
// a large vocabulary has some 10 MB.
const maxSmallFile = 256 << 20

// folder is where a checkpoint's files lie: on disk, where large ones are
// mapped, or in an fs.FS such as an embedded one.
type folder struct {
	dir string // if fsys is nil
	fs  fs.FS
}

func dirFolder(dir string) folder { return folder{dir: dir, fs: os.DirFS(dir)} }

// path names a file in messages.
func (f folder) path(name string) string {
	if f.dir != "" {
		return filepath.Join(f.dir, name)
	}
	return name
}

// read returns a small file.
func (f folder) read(name string) ([]byte, error) {
	file, err := f.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmallFile {
		return nil, fmt.Errorf("%s: not a regular file of at most %d MB", f.path(name), maxSmallFile>>20)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(name), err)
	}
	return data, nil
}

// blob is a large file's content.
type blob struct {
	data []byte
	mm   *mmap.File // nil if the content is in memory
}

func (b blob) forget(part []byte) {
	if b.mm != nil {
		b.mm.Forget(part)
	}
}

func (b blob) close() error {
	if b.mm == nil {
		return nil
	}
	return b.mm.Close()
}

// open maps a large file.
func (f folder) open(name string) (blob, error) {
	if f.dir == "" {
		data, err := fs.ReadFile(f.fs, name)
		return blob{data: data}, err
	}
	mm, err := mmap.Open(f.path(name))
	if err != nil {
		return blob{}, err
	}
	return blob{mm.Bytes(), mm}, nil
}

// head returns up to n bytes from the start of a file.
func (f folder) head(name string, n int) ([]byte, error) {
	file, err := f.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf := make([]byte, n)
	got, err := io.ReadFull(file, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return buf[:got], err
}

// names lists the regular files directly in the folder with an extension.
func (f folder) names(ext string) ([]string, error) {
	entries, err := fs.ReadDir(f.fs, ".")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ext {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
