package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Option changes how a checkpoint is opened.
type Option func(*options)

type options struct {
	order I2SOrder
	float bool
}

func apply(opts []Option) (o options) {
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Open opens a Hugging Face folder, one safetensors file beside its
// config.json, a GGUF file, or a folder that holds a single GGUF file.
func Open(path string, opts ...Option) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openFolder(dirFolder(path), opts)
	}
	return openFile(dirFolder(filepath.Dir(path)), filepath.Base(path), opts)
}

// OpenFS is Open for the root of a file system, such as an embedded one.
func OpenFS(fsys fs.FS, opts ...Option) (*Model, error) {
	return openFolder(folder{fs: fsys}, opts)
}

func openFolder(dir folder, opts []Option) (*Model, error) {
	if _, err := fs.Stat(dir.fs, "config.json"); err == nil {
		return openHF(dir, "", apply(opts))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found, err := dir.names(".gguf")
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: neither config.json nor a .gguf file in this folder", dir.path("."))
	case 1:
		return openFile(dir, found[0], opts)
	}
	return nil, fmt.Errorf("%s: %d .gguf files in this folder, name one: %v", dir.path("."), len(found), found)
}

// openFile tells the format by the file's first bytes.
func openFile(dir folder, name string, opts []Option) (*Model, error) {
	head, err := dir.head(name, 16)
	if err != nil {
		return nil, err
	}
	switch kind := sniff(head); kind {
	case "gguf":
		return openGGUF(dir, name, opts)
	case "safetensors":
		return openHF(dir, name, apply(opts))
	case "":
		return nil, fmt.Errorf("%s: neither GGUF nor safetensors", dir.path(name))
	default:
		return nil, fmt.Errorf("%s: is a %s; trit reads GGUF and safetensors", dir.path(name), kind)
	}
}

// sniff names the format that a file's first 16 bytes belong to.
func sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("GGUF")), bytes.HasPrefix(head, []byte("FUGG")):
		return "gguf"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte{0x80, 2}):
		return "PyTorch pickle, which can run code when it is loaded"
	case bytes.HasPrefix(head, []byte("lmgg")), bytes.HasPrefix(head, []byte("tjgg")), bytes.HasPrefix(head, []byte("fmgg")):
		return "GGML file from before GGUF"
	case len(head) > 8 && head[8] == '{' && binary.LittleEndian.Uint64(head) < 1<<32:
		return "safetensors"
	case len(head) > 0 && head[0] == '{':
		return "JSON file; open the folder instead"
	}
	return ""
}
