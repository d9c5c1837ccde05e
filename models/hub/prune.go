package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trit-ml/trit/internal/filelock"
)

// Entry is a model in the cache at one commit.
type Entry struct {
	Repo   string // OWNER/REPO
	Commit string
	Refs   []string // branches and tags that are at this commit, as far as is known
	Files  []File
	Bytes  int64     // of its files; commits share those that are equal
	Used   time.Time // last time it was opened or fetched, as far as the system tells
	Path   string    // its folder
}

// List returns what the cache holds, least recently used first.
func (c *Client) List() ([]Entry, error) {
	repos, err := os.ReadDir(c.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	var list []Entry
	for _, d := range repos {
		name, ok := strings.CutPrefix(d.Name(), "models--")
		if !ok || !d.IsDir() {
			continue
		}
		r := repo{c.Cache, d.Name()}
		commits, err := os.ReadDir(r.path("snapshots"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("hub: %w", err)
		}
		refs := r.refs()
		for _, commit := range commits {
			if !commitHash.MatchString(commit.Name()) {
				continue
			}
			e, err := r.entry(commit.Name())
			if err != nil {
				return nil, fmt.Errorf("hub: %w", err)
			}
			e.Repo, e.Refs = strings.Replace(name, "--", "/", 1), refs[e.Commit]
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b Entry) int {
		return cmp.Or(a.Used.Compare(b.Used), strings.Compare(a.Path, b.Path))
	})
	return list, nil
}

// refs returns the branches and tags of every commit.
func (r repo) refs() map[string][]string {
	refs := map[string][]string{}
	names, _ := filesBelow(r.path("refs"))
	for _, name := range names {
		if commit, err := r.commit(name); err == nil {
			refs[commit] = append(refs[commit], name)
		}
	}
	return refs
}

// entry looks at one snapshot.
func (r repo) entry(commit string) (Entry, error) {
	e := Entry{Commit: commit, Path: r.snapshot(commit)}
	names, err := filesBelow(e.Path)
	if err != nil {
		return e, err
	}
	if info, err := os.Stat(r.lock(commit + ".use")); err == nil {
		e.Used = info.ModTime()
	}
	for _, name := range names {
		path, err := filepath.EvalSymlinks(r.pointer(commit, name))
		if err != nil {
			continue // gone meanwhile
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		e.Files = append(e.Files, File{name, info.Size()})
		e.Bytes += info.Size()
		for _, t := range []time.Time{info.ModTime(), accessTime(info)} {
			if t.After(e.Used) {
				e.Used = t
			}
		}
	}
	return e, nil
}

// Hold marks the model at path, which Get, Pull or Local returned, as in use: it
// is now the most recently used, and no Prune of any process deletes it until
// release is called or this process ends. A path outside of the cache is fine
// and needs no holding.
func (c *Client) Hold(ctx context.Context, path string) (release func() error, err error) {
	rel, err := filepath.Rel(c.Cache, path)
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if err != nil || len(parts) < 3 || !strings.HasPrefix(parts[0], "models--") || parts[1] != "snapshots" {
		return func() error { return nil }, nil
	}
	return holdCommit(ctx, repo{c.Cache, parts[0]}, parts[2])
}

// holdCommit takes the shared lock that Prune respects. Prune has it for the
// moment of a deletion only.
func holdCommit(ctx context.Context, r repo, commit string) (release func() error, err error) {
	path := r.lock(commit + ".use")
	for {
		l, err := filelock.Try(path, true)
		switch {
		case err == nil:
			now := time.Now()
			if err := os.Chtimes(path, now, now); err != nil {
				return nil, errors.Join(err, l.Release())
			}
			return l.Release, nil
		case !errors.Is(err, filelock.ErrLocked):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Usage is the number of bytes that the cache takes on disk, parts of
// interrupted downloads included.
func (c *Client) Usage() (int64, error) {
	var total int64
	err := filepath.WalkDir(c.Cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total, err
}

// Prune deletes the least recently used models until the cache takes at most
// maxBytes, and returns those deleted. Models that are held, and files that are
// being fetched, stay, so the cache may remain larger.
func (c *Client) Prune(maxBytes int64) ([]Entry, error) {
	list, err := c.List()
	if err != nil {
		return nil, err
	}
	usage, err := c.Usage()
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	var removed []Entry
	for _, e := range list {
		if usage <= maxBytes {
			break
		}
		ok, err := c.remove(e)
		if err != nil {
			return removed, err
		}
		if ok {
			removed = append(removed, e)
		}
		if usage, err = c.Usage(); err != nil {
			return removed, fmt.Errorf("hub: %w", err)
		}
	}
	if usage > maxBytes {
		err = c.removeOrphans()
	}
	return removed, err
}

// remove deletes one snapshot and the blobs that no other one needs. It
// returns false if the snapshot is in use.
func (c *Client) remove(e Entry) (bool, error) {
	r := c.repo(e.Repo)
	lock, err := filelock.Try(r.lock(e.Commit+".use"), false)
	if errors.Is(err, filelock.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Release()
	for _, ref := range e.Refs {
		if err := os.Remove(r.path("refs", filepath.FromSlash(ref))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("hub: %w", err)
		}
	}
	if err := os.RemoveAll(e.Path); err != nil {
		return false, fmt.Errorf("hub: %w", err)
	}
	return true, r.removeBlobs(false)
}

// removeOrphans deletes blobs that no snapshot points to, and the rests of
// interrupted downloads.
func (c *Client) removeOrphans() error {
	repos, err := os.ReadDir(c.Cache)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, d := range repos {
		if strings.HasPrefix(d.Name(), "models--") && d.IsDir() {
			if err := (repo{c.Cache, d.Name()}).removeBlobs(true); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeBlobs deletes the blobs that no snapshot points to and that nobody is
// fetching, with incomplete ones or without.
func (r repo) removeBlobs(incomplete bool) error {
	blobs, err := os.ReadDir(r.path("blobs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	root, err := filepath.EvalSymlinks(r.path("blobs"))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, b := range blobs {
		if b.IsDir() || !incomplete && strings.HasSuffix(b.Name(), ".incomplete") {
			continue
		}
		if err := r.removeBlob(root, b.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (r repo) removeBlob(root, name string) error {
	// Who fetches a file links it before giving its lock back.
	lock, err := filelock.Try(r.lock(strings.TrimSuffix(name, ".incomplete")), false)
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	used, err := r.linked(filepath.Join(root, name))
	if err != nil || used {
		return err
	}
	if err := os.Remove(filepath.Join(root, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

// linked reports whether a snapshot points to a blob.
func (r repo) linked(blob string) (bool, error) {
	found := false
	err := filepath.WalkDir(r.path("snapshots"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if target, err := filepath.EvalSymlinks(path); err == nil && target == blob {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found, err
}
