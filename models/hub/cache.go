package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/trit-ml/trit/internal/atomicfile"
)

// repo is a repository's folder in the cache:
//
//	blobs/ETAG               content, named by its hash
//	blobs/ETAG.incomplete    the same, not all of it
//	refs/REVISION            the commit that a branch or tag was last seen at
//	snapshots/COMMIT/PATH    links to blobs
//
// Locks lie beside the repositories, in .locks, and stay there: a lock file
// that is deleted protects nobody.
type repo struct{ cache, folder string }

func (c *Client) repo(name string) repo {
	return repo{c.Cache, "models--" + strings.ReplaceAll(name, "/", "--")}
}

func (r repo) path(parts ...string) string {
	return filepath.Join(append([]string{r.cache, r.folder}, parts...)...)
}
func (r repo) blob(etag string) string       { return r.path("blobs", etag) }
func (r repo) incomplete(etag string) string { return r.blob(etag) + ".incomplete" }
func (r repo) snapshot(commit string) string { return r.path("snapshots", commit) }
func (r repo) pointer(commit, name string) string {
	return filepath.Join(r.snapshot(commit), filepath.FromSlash(name))
}
func (r repo) lock(name string) string {
	return filepath.Join(r.cache, ".locks", r.folder, name+".lock")
}

// commit returns the commit of a revision, as far as the cache knows.
func (r repo) commit(revision string) (string, error) {
	if commitHash.MatchString(revision) {
		return revision, nil
	}
	data, err := os.ReadFile(r.path("refs", filepath.FromSlash(revision)))
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(data))
	if !commitHash.MatchString(commit) {
		return "", fmt.Errorf("hub: %s: damaged ref", r.path("refs", revision))
	}
	return commit, nil
}

// setRef notes the commit of a branch or tag.
func (r repo) setRef(revision, commit string) error {
	if commitHash.MatchString(revision) {
		return nil
	}
	if old, err := r.commit(revision); err == nil && old == commit {
		return nil
	}
	path := r.path("refs", filepath.FromSlash(revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(commit))
}

// complete reports whether a file of a commit is in the cache.
func (r repo) complete(commit, name string) bool {
	info, err := os.Stat(r.pointer(commit, name))
	return err == nil && info.Mode().IsRegular()
}

// link makes a file of a snapshot that is the blob: a relative symbolic link,
// as the library for Python makes it, or where there are none a second name of
// the blob, or a copy. It appears whole or not at all.
func (r repo) link(commit, name, etag string) error {
	pointer := r.pointer(commit, name)
	if err := os.MkdirAll(filepath.Dir(pointer), 0o777); err != nil {
		return err
	}
	blob := r.blob(etag)
	target, err := filepath.Rel(filepath.Dir(pointer), blob)
	if err != nil {
		return err
	}
	tmp := pointer + ".linking"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := symlink(target, tmp); err != nil {
		if err := os.Link(blob, tmp); err != nil {
			return copyFile(pointer, blob)
		}
	}
	return os.Rename(tmp, pointer)
}

var symlink = os.Symlink // replaced in a test

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := atomicfile.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Commit()
}

// filesBelow lists the files of a folder, links included, with slashes.
func filesBelow(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		// A link to a blob that is gone is no file.
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

// appendUpTo appends what r has, but at most n bytes.
func appendUpTo(buf []byte, r io.Reader, n int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(n)))
	return append(buf, data...), err
}
