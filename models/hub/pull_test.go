package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The cache looks as the library for Python leaves it.
func TestLayout(t *testing.T) {
	h := newHub(t)
	h.token = "hf_secret"
	m := h.addModel("owner/model", 1, 100_000)
	c := h.client(t)
	path := mustPull(t, c, "owner/model")
	root := filepath.Join(c.Cache, "models--owner--model")
	if want := filepath.Join(root, "snapshots", m.commit); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	names, err := filesBelow(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range names {
		wantFile(t, filepath.Join(path, name), m.files[name])
		tag := hashGit(m.files[name])
		if large(name) {
			tag = hash256(m.files[name])
		}
		if target, err := os.Readlink(filepath.Join(path, name)); err != nil || filepath.ToSlash(target) != "../../blobs/"+tag {
			t.Errorf("%s links to %s, %v", name, target, err)
		}
	}
	wantFile(t, filepath.Join(root, "refs", "main"), []byte(m.commit))
	if len(h.leaks) > 0 {
		t.Errorf("the storage saw the token: %q", h.leaks)
	}
	if parts, _ := filepath.Glob(filepath.Join(root, "blobs", "*.incomplete")); len(parts) > 0 {
		t.Errorf("left behind: %q", parts)
	}
	// Again: one question, no file.
	before := h.count("")
	if again := mustPull(t, c, "owner/model"); again != path || h.count("") != before+1 {
		t.Errorf("again: %s, requests %q", again, h.requests[before:])
	}
	// Another commit with the same weights fetches only what changed.
	m = h.addModel("owner/model", 2, 100_000)
	m.files["config.json"] = []byte("{}")
	before = h.bytes("model.safetensors")
	if path = mustPull(t, c, "owner/model"); !strings.HasSuffix(path, m.commit) || h.bytes("model.safetensors") != before {
		t.Errorf("the new commit: %s, %d bytes again", path, h.bytes("model.safetensors")-before)
	}
	wantFile(t, filepath.Join(path, "config.json"), []byte("{}"))
}

// Revisions, single files and names that need escaping.
func TestRefs(t *testing.T) {
	h := newHub(t)
	m := h.addModel("owner/model", 1, 10)
	m.files["sub dir/a+b%20c#d?.gguf"] = content("gguf", 1000)
	c := h.client(t)
	path := mustPull(t, c, "owner/model@refs/pr/1:sub dir/a+b%20c#d?.gguf")
	wantFile(t, path, content("gguf", 1000))
	if target, err := os.Readlink(path); err != nil || filepath.ToSlash(target) != "../../../blobs/"+hash256(content("gguf", 1000)) {
		t.Errorf("link %s, %v", target, err)
	}
	wantFile(t, filepath.Join(c.Cache, "models--owner--model", "refs", "refs", "pr", "1"), []byte(m.commit))
	got, err := c.Local(mustRef(t, "owner/model@"+m.commit+":sub dir/a+b%20c#d?.gguf"))
	if err != nil || got != path {
		t.Errorf("local %s, %v", got, err)
	}
	if h.count("GET /owner/model/model.safetensors") > 0 {
		t.Error("fetched more than the file")
	}
	delete(m.files, "config.json")
	if path := mustPull(t, c, "owner/model"); filepath.Base(path) != "a+b%20c#d?.gguf" {
		t.Errorf("a model of one GGUF file opens as %s", path)
	}
}

func TestChoose(t *testing.T) {
	ref := func(file string) Ref { return Ref{Repo: "o/r", File: file} }
	index := `{"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors","c":"model-1-of-2.safetensors"}}`
	for name, c := range map[string]struct {
		ref   Ref
		all   []string
		index string
		want  []string
		fail  string
	}{
		"one file":      {ref(""), []string{"config.json", "model.safetensors", "x.safetensors", "a.gguf", "tokenizer.json", "README.md"}, "", []string{"config.json", "model.safetensors", "tokenizer.json"}, ""},
		"shards":        {ref(""), []string{"config.json", indexFile, "model-1-of-2.safetensors", "model-2-of-2.safetensors", "model.safetensors"}, index, []string{"config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors", indexFile}, ""},
		"missing shard": {ref(""), []string{"config.json", indexFile, "model-1-of-2.safetensors"}, index, nil, `lists "model-2-of-2.safetensors"`},
		"bad index":     {ref(""), []string{"config.json", indexFile}, `{"weight_map":{"a":"../../x"}}`, nil, `"../../x"`},
		"empty index":   {ref(""), []string{"config.json", indexFile}, `{}`, nil, "lists no weights"},
		"any weights":   {ref(""), []string{"config.json", "b.safetensors", "sub/c.safetensors"}, "", []string{"b.safetensors", "config.json"}, ""},
		"gguf":          {ref(""), []string{"README.md", "config.json", "m.gguf"}, "", []string{"m.gguf"}, ""},
		"two ggufs":     {ref(""), []string{"a.gguf", "b.gguf"}, "", nil, "name one as o/r:FILE: a.gguf, b.gguf"},
		"nothing":       {ref(""), []string{"README.md", "pytorch_model.bin"}, "", nil, "pytorch_model.bin"},
		"empty":         {ref(""), nil, "", nil, "no files"},
		"named":         {ref("b.gguf"), []string{"a.gguf", "b.gguf"}, "", []string{"b.gguf"}, ""},
		"weights named": {ref("x.safetensors"), []string{"config.json", "model.safetensors", "x.safetensors"}, "", []string{"config.json", "x.safetensors"}, ""},
		"not there":     {ref("c.gguf"), []string{"a.gguf", "b.gguf"}, "", nil, "there are a.gguf, b.gguf"},
	} {
		got, err := choose(c.ref, c.all, func() ([]byte, error) { return []byte(c.index), nil })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if (err != nil) != (c.fail != "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%s: error %v, want %q", name, err, c.fail)
		}
	}
}

// What a model is can be read before it is fetched.
func TestHead(t *testing.T) {
	h := newHub(t)
	m := h.addModel("o/r", 1, 100)
	m.files["big.gguf"] = content("big", 3<<20)
	m.files["empty.gguf"] = nil
	c := h.client(t)
	p, err := c.Plan(t.Context(), mustRef(t, "o/r:big.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Main().Path != "big.gguf" || p.Bytes() != 3<<20 || p.Commit != m.commit {
		t.Errorf("main %v, %d bytes, commit %s", p.Main(), p.Bytes(), p.Commit)
	}
	for _, ranges := range []bool{true, false} {
		h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
			if !ranges {
				r.Header.Del("Range")
			}
			return false
		})
		head, err := p.Head(t.Context(), p.Main(), 70_000)
		if err != nil || !slices.Equal(head, m.files["big.gguf"][:70_000]) {
			t.Errorf("ranges %v: %d bytes, %v", ranges, len(head), err)
		}
		if ranges && h.bytes("big.gguf") != 70_000 {
			t.Errorf("%d bytes sent", h.bytes("big.gguf"))
		}
	}
	head, err := p.Head(t.Context(), File{Path: "config.json"}, 1<<20)
	if err != nil || string(head) != string(m.files["config.json"]) {
		t.Errorf("config %q, %v", head, err)
	}
	if head, err = p.Head(t.Context(), File{Path: "empty.gguf"}, 10); err != nil || len(head) != 0 {
		t.Errorf("empty: %q, %v", head, err)
	}
	if p.client.repo("o/r").complete(m.commit, "big.gguf") {
		t.Error("the file is in the cache")
	}
	if _, err := c.Pull(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	before := h.count("")
	if head, err = p.Head(t.Context(), p.Main(), 10); err != nil || len(head) != 10 || h.count("") != before {
		t.Errorf("from the cache: %d bytes, %v, %d requests", len(head), err, h.count("")-before)
	}
}

func TestShards(t *testing.T) {
	h := newHub(t)
	m := h.addModel("o/r", 1, 10)
	delete(m.files, "model.safetensors")
	names := map[string]string{}
	for i := range 7 {
		name := fmt.Sprintf("model-%05d-of-00007.safetensors", i+1)
		m.files[name] = content(name, 50_000+i)
		names[fmt.Sprint("tensor", i)] = name
	}
	m.files[indexFile], _ = json.Marshal(map[string]any{"weight_map": names})
	c := h.client(t)
	var mu sync.Mutex
	last := map[string]Progress{}
	busy := false
	c.Progress = func(p Progress) {
		if busy {
			t.Error("Progress is called twice at once")
		}
		busy = true
		mu.Lock()
		defer mu.Unlock()
		if p.Done < last[p.File].Done {
			t.Errorf("%s goes back from %d to %d", p.File, last[p.File].Done, p.Done)
		}
		last[p.File] = p
		busy = false
	}
	path := mustPull(t, c, "o/r")
	for name, data := range m.files {
		if strings.HasPrefix(name, "model-") {
			wantFile(t, filepath.Join(path, name), data)
			if p := last[name]; p.Done != int64(len(data)) || p.Total != p.Done {
				t.Errorf("%s ends at %+v", name, p)
			}
		}
	}
	if _, err := c.Local(mustRef(t, "o/r")); err != nil {
		t.Error(err)
	}
	// A model of which a shard is gone is not complete.
	if err := os.Remove(filepath.Join(path, "model-00003-of-00007.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Local(mustRef(t, "o/r")); !errors.Is(err, ErrIncomplete) {
		t.Errorf("error %v", err)
	}
}

func TestOffline(t *testing.T) {
	h := newHub(t)
	h.addModel("o/r", 1, 1000)
	c := h.client(t)
	off := *c
	off.Offline = true
	for _, err := range []error{
		func() error { _, err := off.Plan(t.Context(), mustRef(t, "o/r")); return err }(),
		func() error { _, _, err := off.Get(t.Context(), mustRef(t, "o/r")); return err }(),
		func() error { _, err := off.Pull(t.Context(), &Plan{}); return err }(),
	} {
		if !errors.Is(err, ErrOffline) {
			t.Errorf("error %v", err)
		}
	}
	if h.count("") > 0 {
		t.Errorf("requests %q", h.requests)
	}
	path := mustPull(t, c, "o/r")
	if got, stale, err := off.Get(t.Context(), mustRef(t, "o/r")); err != nil || stale || got != path {
		t.Errorf("%s, %v, %v", got, stale, err)
	}
	// A hub that cannot be reached is no obstacle to what is there.
	h.Server.Close()
	c.Attempts = 2
	if got, stale, err := c.Get(t.Context(), mustRef(t, "o/r")); err != nil || !stale || got != path {
		t.Errorf("%s, %v, %v", got, stale, err)
	}
	if _, _, err := c.Get(t.Context(), mustRef(t, "o/other")); err == nil || errors.Is(err, ErrOffline) {
		t.Errorf("error %v", err)
	}
}

// Without symbolic links there are hard links, and without those, copies.
func TestNoSymlinks(t *testing.T) {
	defer func() { symlink = os.Symlink }()
	symlink = func(string, string) error { return errors.New("no links") }
	h := newHub(t)
	m := h.addModel("o/r", 1, 1000)
	c := h.client(t)
	path := filepath.Join(mustPull(t, c, "o/r"), "model.safetensors")
	wantFile(t, path, m.files["model.safetensors"])
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	dst := filepath.Join(t.TempDir(), "copy")
	if err := copyFile(dst, path); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dst, m.files["model.safetensors"])
	removed, err := c.Prune(0)
	if err != nil || len(removed) != 1 {
		t.Errorf("pruned %v, %v", removed, err)
	}
	if n, err := c.Usage(); err != nil || n != 0 {
		t.Errorf("%d bytes left, %v", n, err)
	}
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(" hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	join := filepath.Join
	for name, c := range map[string]struct {
		env  map[string]string
		want Client
		fail string
	}{
		"nothing": {nil, Client{Endpoint: DefaultEndpoint, Cache: join("/u", ".cache", "huggingface", "hub")}, ""},
		"home":    {map[string]string{"HF_HOME": dir}, Client{Endpoint: DefaultEndpoint, Cache: join(dir, "hub"), Token: "hf_file"}, ""},
		"all": {map[string]string{"HF_HOME": dir, "HF_HUB_CACHE": "~/c", "HF_TOKEN": "hf_env", "HF_ENDPOINT": "http://h:1/x/", "HF_HUB_OFFLINE": "true"},
			Client{Endpoint: "http://h:1/x", Cache: join("/u", "c"), Token: "hf_env", Offline: true}, ""},
		"xdg":        {map[string]string{"XDG_CACHE_HOME": "/x"}, Client{Endpoint: DefaultEndpoint, Cache: join("/x", "huggingface", "hub")}, ""},
		"token path": {map[string]string{"HF_TOKEN_PATH": join(dir, "token"), "HF_HUB_OFFLINE": "0"}, Client{Endpoint: DefaultEndpoint, Cache: join("/u", ".cache", "huggingface", "hub"), Token: "hf_file"}, ""},
		"bad token":  {map[string]string{"HF_TOKEN": "a\r\nb"}, Client{}, "no token has"},
	} {
		got, err := fromEnv(func(k string) string { return c.env[k] }, func() (string, error) { return "/u", nil })
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: error %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Endpoint != c.want.Endpoint || got.Cache != c.want.Cache || got.Token != c.want.Token || got.Offline != c.want.Offline {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
		}
	}
	if runtime.GOOS != "windows" {
		if _, err := fromEnv(func(string) string { return "" }, func() (string, error) { return "", errors.New("none") }); err == nil {
			t.Error("no error without a home")
		}
	}
}

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"microsoft/bitnet-b1.58-2B-4T":            {Repo: "microsoft/bitnet-b1.58-2B-4T"},
		"o/r:a/b.gguf":                            {Repo: "o/r", File: "a/b.gguf"},
		"o/r@v1.0":                                {Repo: "o/r", Revision: "v1.0"},
		"o/r@refs/pr/3:x.gguf":                    {Repo: "o/r", Revision: "refs/pr/3", File: "x.gguf"},
		"o/r:x@y.gguf":                            {Repo: "o/r", File: "x@y.gguf"},
		"o/r@" + strings.Repeat("a", 40) + ":f.x": {Repo: "o/r", Revision: strings.Repeat("a", 40), File: "f.x"},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "o", "o/r/s", "/r", "o/", "o/r:", "o/r@", "../r", "o/..", "o/r:../x", "o/r:/x", "o/r:a\\b", "o/r@../x", "o--p/r", "-o/r", "o/r.git", "o/r:a:b", "o r/x", "https://huggingface.co/o/r"} {
		if got, err := ParseRef(s); err == nil {
			t.Errorf("%q: %+v, want an error", s, got)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("o/r@main:a/b.gguf")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if r.String() != s {
			t.Errorf("%q reads as %q", s, r)
		}
		c := &Client{Cache: "/cache"}
		for _, p := range []string{c.repo(r.Repo).path(), c.repo(r.Repo).pointer(commitOf(1), r.File)} {
			if rel, err := filepath.Rel("/cache", p); err != nil || !filepath.IsLocal(rel) {
				t.Errorf("%q leads to %s", s, p)
			}
		}
	})
}

func TestCancelledBefore(t *testing.T) {
	h := newHub(t)
	h.addModel("o/r", 1, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.client(t).Get(ctx, mustRef(t, "o/r")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
