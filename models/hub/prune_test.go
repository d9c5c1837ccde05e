package hub

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/internal/filelock"
)

// age sets when everything of a model was last used.
func age(t *testing.T, c *Client, path string, when time.Time) {
	t.Helper()
	names, err := filesBelow(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Chtimes(filepath.Join(path, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Dir(filepath.Dir(path))
	lock := filepath.Join(c.Cache, ".locks", filepath.Base(root), filepath.Base(path)+".use.lock")
	if err := os.Chtimes(lock, when, when); err != nil {
		t.Fatal(err)
	}
}

func repos(list []Entry) []string {
	var names []string
	for _, e := range list {
		names = append(names, e.Repo)
	}
	return names
}

func TestPrune(t *testing.T) {
	h := newHub(t)
	c := h.client(t)
	then := time.Now().Add(-48 * time.Hour)
	paths := map[string]string{}
	for i, name := range []string{"a/old", "b/middle", "c/new"} {
		h.addModel(name, i, 100_000)
		paths[name] = mustPull(t, c, name)
		age(t, c, paths[name], then.Add(time.Duration(i)*time.Hour))
	}
	list, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/old", "b/middle", "c/new"}, repos(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e := list[0]
	if e.Commit != commitOf(0) || len(e.Refs) != 1 || e.Refs[0] != "main" || e.Bytes < 100_000 || e.Bytes > 100_100 || len(e.Files) != 4 || e.Path != paths["a/old"] || !e.Used.Equal(then.Truncate(0)) {
		t.Errorf("entry %+v, used %v", e, e.Used.Sub(then))
	}
	if removed, err := c.Prune(400_000); err != nil || len(removed) != 0 {
		t.Errorf("there was room, but %v went, %v", repos(removed), err)
	}
	// The oldest is in use, which also makes it the newest.
	release, err := c.Hold(t.Context(), filepath.Join(paths["a/old"], "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	removed, err := c.Prune(250_000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/middle"}, repos(removed)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if _, err := c.Local(mustRef(t, "b/middle")); err == nil {
		t.Error("b/middle is still there")
	}
	if removed, err = c.Prune(0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c/new"}, repos(removed)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	wantFile(t, filepath.Join(paths["a/old"], "model.safetensors"), content("a/old", 100_000))
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if removed, err = c.Prune(0); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", repos(removed), err)
	}
	if n, err := c.Usage(); err != nil || n != 0 {
		t.Errorf("%d bytes left, %v", n, err)
	}
	// What was pruned can be fetched again.
	wantFile(t, filepath.Join(mustPull(t, c, "a/old"), "model.safetensors"), content("a/old", 100_000))
}

// Commits share files; those that another commit needs stay.
func TestPruneShared(t *testing.T) {
	h := newHub(t)
	c := h.client(t)
	h.addModel("o/r", 1, 100_000)
	first := mustPull(t, c, "o/r")
	m := h.addModel("o/r", 2, 100_000)
	m.files["config.json"] = content("config", 50_000)
	second := mustPull(t, c, "o/r")
	age(t, c, second, time.Now().Add(-time.Hour))
	age(t, c, first, time.Now().Add(-2*time.Hour)) // the weights too, which are shared
	os.Chtimes(filepath.Join(second, "config.json"), time.Now(), time.Now())
	removed, err := c.Prune(150_050)
	if err != nil || len(removed) != 1 || removed[0].Commit != commitOf(1) {
		t.Fatalf("removed %v, %v", removed, err)
	}
	wantFile(t, filepath.Join(second, "model.safetensors"), content("o/r", 100_000))
	if got, err := c.Local(mustRef(t, "o/r")); err != nil || got != second {
		t.Errorf("%s, %v", got, err)
	}
}

// The rests of downloads go last, and not while somebody writes them.
func TestPruneRests(t *testing.T) {
	h, whole := weights(t, 1000)
	c := h.client(t)
	part := leave(t, c, whole, whole[:500])
	lock, err := filelock.Try(c.repo("o/r").lock(hash256(whole)), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(0); err != nil {
		t.Fatal(err)
	}
	wantFile(t, part, whole[:500])
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(part); !os.IsNotExist(err) {
		t.Errorf("the rest is still there: %v", err)
	}
}

// A cache that the library for Python filled is understood, with what else
// lies there.
func TestForeignCache(t *testing.T) {
	c := &Client{Cache: t.TempDir(), Offline: true}
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(c.Cache, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	root := "models--o--r.x-1/"
	write("version.txt", "1")
	write("datasets--o--d/refs/main", commitOf(9))
	write(root+"refs/main", commitOf(1))
	write(root+"refs/damaged", "x")
	write(root+"blobs/abc", "weights")
	write(root+".no_exist/"+commitOf(1)+"/x.json", "")
	dir := filepath.Join(c.Cache, filepath.FromSlash(root), "snapshots", commitOf(1))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../blobs/abc", filepath.Join(dir, "m.gguf")); err != nil {
		t.Skip("no symbolic links here")
	}
	if err := os.Symlink("../../blobs/gone", filepath.Join(dir, "n.gguf")); err != nil {
		t.Fatal(err)
	}
	path, err := c.Local(mustRef(t, "o/r.x-1"))
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, []byte("weights"))
	list, err := c.List()
	if err != nil || len(list) != 1 || list[0].Repo != "o/r.x-1" || len(list[0].Files) != 1 {
		t.Errorf("list %+v, %v", list, err)
	}
	if _, err := c.Prune(0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(c.Cache, "datasets--o--d", "refs", "main")); err != nil {
		t.Error("a data set is gone")
	}
	if release, err := c.Hold(t.Context(), "/somewhere/else"); err != nil || release() != nil {
		t.Errorf("a path outside: %v", err)
	}
}
