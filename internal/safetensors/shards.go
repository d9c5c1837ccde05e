package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
)

// extension ends the names of files.
const extension = ".safetensors"

// IndexName is the file beside sharded files that tells which tensor is where,
// as Hugging Face names it: stem.safetensors.index.json.
func IndexName(stem string) string { return stem + extension + ".index.json" }

// ShardName is the name of shard i of n, counted from 0, and of the only file if
// n is 1: stem.safetensors or stem-00001-of-00003.safetensors.
func ShardName(stem string, i, n int) string {
	if n == 1 {
		return stem + extension
	}
	return fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, extension)
}

// Index is the content of an index file.
type Index struct {
	Metadata struct {
		TotalSize int64 `json:"total_size"` // bytes of all tensors
	} `json:"metadata"`
	WeightMap map[string]string `json:"weight_map"` // tensor to file
}

// ParseIndex reads an index. It names plain files only: an index must not reach
// outside its folder.
func ParseIndex(text []byte) (*Index, error) {
	var x Index
	if err := json.Unmarshal(text, &x); err != nil {
		return nil, err
	}
	for tensor, file := range x.WeightMap {
		if file != path.Base(file) || strings.ContainsAny(file, `/\:`) || path.Ext(file) != extension {
			return nil, fmt.Errorf("tensor %q: %q is not the name of a safetensors file in the folder", tensor, file)
		}
	}
	if len(x.WeightMap) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	return &x, nil
}

// Files lists the files of a set called stem in a folder: those of the index, or
// the single file.
func Files(dir, stem string) ([]string, error) {
	single := ShardName(stem, 0, 1)
	if _, err := os.Stat(filepath.Join(dir, single)); err == nil {
		return []string{single}, nil
	}
	name := filepath.Join(dir, IndexName(stem))
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: neither %s nor %s: %w", dir, single, filepath.Base(name), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	x, err := ParseIndex(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return x.Files(), nil
}

// Files lists the shards, each once, in ascending order.
func (x *Index) Files() []string {
	seen := map[string]bool{}
	for _, f := range x.WeightMap {
		seen[f] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Split cuts entries into shards of at most limit bytes of tensors each, in
// their order; a larger tensor is a shard of its own. A limit of 0 does not
// split.
func Split(entries []Entry, limit int64) [][]Entry {
	var shards [][]Entry
	var size int64
	for _, e := range entries {
		n := e.Bytes()
		if len(shards) == 0 || limit > 0 && size > 0 && size+n > limit {
			shards, size = append(shards, nil), 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], e)
		size += n
	}
	return shards
}

// Bytes is the size of the tensor in a file.
func (e Entry) Bytes() int64 {
	n, err := graph.Count(e.Dims)
	if err != nil {
		return 0 // refused when it is written
	}
	return int64(n) * int64(e.Elem.Size())
}

// IndexOf describes shards by the names that files gives them.
func IndexOf(shards [][]Entry, files []string) *Index {
	x := &Index{WeightMap: map[string]string{}}
	for i, s := range shards {
		for _, e := range s {
			x.WeightMap[e.Name] = files[i]
			x.Metadata.TotalSize += e.Bytes()
		}
	}
	return x
}

// WriteIndex writes an index to path, all or nothing.
func WriteIndex(path string, x *Index) error {
	text, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// WriteShards writes entries into dir as one file, or as shards with an index
// where they exceed limit. Files appear one by one, so dir must be one that
// nobody reads yet.
func WriteShards(dir, stem string, entries []Entry, metadata map[string]string, limit int64) error {
	shards := Split(entries, limit)
	if len(shards) == 0 {
		shards = make([][]Entry, 1)
	}
	files := make([]string, len(shards))
	for i, s := range shards {
		files[i] = ShardName(stem, i, len(shards))
		if err := WriteFile(filepath.Join(dir, files[i]), s, metadata); err != nil {
			return err
		}
	}
	if len(shards) == 1 {
		return nil
	}
	return WriteIndex(filepath.Join(dir, IndexName(stem)), IndexOf(shards, files))
}
