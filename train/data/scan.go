package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Config says which texts to use.
type Config struct {
	// Path is a folder, searched recursively, or a single file.
	Path string `json:"path" flag:"data" help:"Folder of text files, or one file." placeholder:"PATH"`
	// Format is [Text], which is what empty means too, or [Chat]: conversations
	// as JSONL, see [ScanChat].
	Format string `json:"format,omitempty" flag:"format" help:"text, or chat: JSONL files of conversations, of which the answers are learned."`
	// Long says what happens to a conversation that is longer than a window:
	// [Cut] (also empty) or [Drop].
	Long string `json:"long,omitempty" flag:"long" help:"chat: what becomes of conversations that are longer than a window: cut (at their end) or drop."`
	// Include and Exclude are patterns of [Match] over paths relative to Path.
	// Without Include every file counts. Hidden files and folders, empty files
	// and files with a NUL byte in their first 8000 are always left out.
	Include []string `json:"include,omitempty" flag:"include" help:"Only files that match, such as '*.go'." placeholder:"GLOB"`
	Exclude []string `json:"exclude,omitempty" flag:"exclude" help:"Leave out files that match." placeholder:"GLOB"`
	// Holdout is the share of files kept for validation, in (0, 1). Of a
	// single file it is the share of the text, at its end; of conversations it
	// is their share, chosen by their content.
	Holdout float64 `json:"holdout" flag:"holdout" help:"Share of files kept for validation; of a single file, the end of its text."`
	// Cache is the folder for tokenized texts; several runs may share one.
	// Empty means a folder that the caller chooses.
	Cache string `json:"cache,omitempty" flag:"data-cache" help:"Folder for tokenized texts, which several runs may share; in the run folder by default." placeholder:"DIR"`
}

// Part is a document: a file, or a stretch of one.
type Part struct {
	Rel       string // path relative to the corpus, with slashes
	Off, Size int64
	modified  int64
}

// Corpus is a list of documents, split into training and validation.
type Corpus struct {
	Train, Valid []Part
	root         string // folder that the paths are relative to
}

// Scan lists the documents in the order of their paths. At least one is held
// out and at least one is not.
func Scan(c Config) (*Corpus, error) {
	all, root, err := c.list()
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		name := filepath.Join(root, filepath.FromSlash(all[0].Rel))
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		return scanFile(name, info, c.Holdout)
	}
	corpus := &Corpus{root: root}
	corpus.Train, corpus.Valid = split(all, c.Holdout)
	return corpus, nil
}

// list returns the wanted files in the order of their paths, and the folder that
// the paths are relative to.
func (c *Config) list() (all []Part, root string, err error) {
	if !(c.Holdout > 0 && c.Holdout < 1) {
		return nil, "", fmt.Errorf("data: holdout %v is not in (0, 1)", c.Holdout)
	}
	for _, p := range slices.Concat(c.Include, c.Exclude) {
		if _, err := Match(p, "x"); err != nil {
			return nil, "", fmt.Errorf("data: %w", err)
		}
	}
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, "", fmt.Errorf("data: %w", err)
	}
	if info.Mode().IsRegular() {
		return []Part{{Rel: filepath.Base(c.Path), Size: info.Size(), modified: info.ModTime().UnixNano()}}, filepath.Dir(c.Path), nil
	}
	err = filepath.WalkDir(c.Path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == c.Path {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(c.Path, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if !c.wants(rel) {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		if text, err := isText(name); err != nil || !text {
			return err
		}
		all = append(all, Part{Rel: rel, Size: info.Size(), modified: info.ModTime().UnixNano()})
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("data: %w", err)
	}
	slices.SortFunc(all, func(a, b Part) int { return strings.Compare(a.Rel, b.Rel) })
	if len(all) == 0 {
		return nil, "", fmt.Errorf("data: %s has no text files that match include %q and exclude %q", c.Path, c.Include, c.Exclude)
	}
	return all, c.Path, nil
}

func (c *Config) wants(rel string) bool {
	matches := func(p string) bool { ok, _ := Match(p, rel); return ok }
	return (len(c.Include) == 0 || slices.ContainsFunc(c.Include, matches)) && !slices.ContainsFunc(c.Exclude, matches)
}

// Match reports whether a relative path matches a pattern in the syntax of
// path.Match, element by element. A pattern without a slash is compared with
// the last element alone; "**" stands for any number of elements.
func Match(pattern, rel string) (bool, error) {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		return false, fmt.Errorf("bad pattern %q", pattern)
	}
	if !strings.Contains(pattern, "/") {
		return path.Match(pattern, path.Base(rel))
	}
	return matchElems(strings.Split(pattern, "/"), strings.Split(rel, "/"))
}

func matchElems(pat, elems []string) (bool, error) {
	for len(pat) > 0 {
		if pat[0] == "**" {
			for i := range len(elems) + 1 {
				if ok, err := matchElems(pat[1:], elems[i:]); ok || err != nil {
					return ok, err
				}
			}
			return false, nil
		}
		if len(elems) == 0 {
			return false, nil
		}
		if ok, err := path.Match(pat[0], elems[0]); !ok || err != nil {
			return false, err
		}
		pat, elems = pat[1:], elems[1:]
	}
	return len(elems) == 0, nil
}

// isText looks for a NUL byte near the file's start, as git does.
func isText(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 8000)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return bytes.IndexByte(head[:n], 0) < 0, nil
}

// split holds out the files whose path hashes below the fraction. If that
// leaves one side empty, the file nearest to the border changes sides.
func split(all []Part, holdout float64) (train, valid []Part) {
	low, high := 0, 0
	for i, p := range all {
		if place(p.Rel) < place(all[low].Rel) {
			low = i
		}
		if place(p.Rel) > place(all[high].Rel) {
			high = i
		}
	}
	for i, p := range all {
		if (place(p.Rel) < holdout || i == low) && i != high {
			valid = append(valid, p)
		} else {
			train = append(train, p)
		}
	}
	return train, valid
}

// place maps a path to [0, 1), the same on every machine and in every version.
func place(rel string) float64 {
	sum := sha256.Sum256([]byte(rel))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// scanFile splits one file: the last part of its text, from the start of a
// line if there is one near, is held out.
func scanFile(name string, info fs.FileInfo, holdout float64) (*Corpus, error) {
	cut, err := cutNear(name, info.Size(), info.Size()-int64(float64(info.Size())*holdout))
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if cut <= 0 || cut >= info.Size() {
		return nil, fmt.Errorf("data: %s has %d bytes, too few to hold some out", name, info.Size())
	}
	p := Part{Rel: filepath.Base(name), Size: cut, modified: info.ModTime().UnixNano()}
	q := Part{Rel: p.Rel, Off: cut, Size: info.Size() - cut, modified: p.modified}
	return &Corpus{Train: []Part{p}, Valid: []Part{q}, root: filepath.Dir(name)}, nil
}

func cutNear(name string, size, at int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, min(4096, size-at))
	if _, err := f.ReadAt(buf, at); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if i := bytes.IndexByte(buf, '\n'); i >= 0 && at+int64(i)+1 < size {
		return at + int64(i) + 1, nil
	}
	for i := range buf {
		if utf8.RuneStart(buf[i]) {
			return at + int64(i), nil
		}
	}
	return at, nil
}

// Open opens a document's text.
func (c *Corpus) Open(p Part) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(c.root, filepath.FromSlash(p.Rel)))
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, p.Off, p.Size), f}, nil
}

// Bytes is the size of the documents.
func Bytes(parts []Part) int64 {
	var n int64
	for _, p := range parts {
		n += p.Size
	}
	return n
}
