package hub

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeHub is a hub and, on another host, the storage that it redirects to for
// large files.
type fakeHub struct {
	*httptest.Server
	storage *httptest.Server
	token   string // if not empty, needed

	mu       sync.Mutex
	repos    map[string]*fakeRepo
	requests []string       // "METHOD path [range]", of both hosts
	leaks    []string       // tokens seen by the storage
	served   map[string]int // bytes of bodies, by path in the repository
	// hook may answer a request in place of the hub or the storage.
	hook func(w http.ResponseWriter, r *http.Request, storage bool) bool
}

type fakeRepo struct {
	commit string
	files  map[string][]byte
}

// large says which files are in large storage.
func large(name string) bool { return isSafetensors(name) || isGGUF(name) }

func commitOf(n int) string { return fmt.Sprintf("%040x", 0xc0ffee<<8+n) }

func newHub(t testing.TB) *fakeHub {
	h := &fakeHub{repos: map[string]*fakeRepo{}, served: map[string]int{}}
	h.Server = httptest.NewServer(http.HandlerFunc(h.hub))
	h.storage = httptest.NewServer(http.HandlerFunc(h.store))
	t.Cleanup(h.Server.Close)
	t.Cleanup(h.storage.Close)
	return h
}

// client returns a client with a cache of its own.
func (h *fakeHub) client(t testing.TB) *Client {
	return &Client{Endpoint: h.URL, Token: h.token, Cache: t.TempDir(), backoff: time.Millisecond}
}

func (h *fakeHub) note(r *http.Request, storage bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	if auth := r.Header.Get("Authorization"); storage && auth != "" {
		h.leaks = append(h.leaks, auth)
	}
}

func (h *fakeHub) count(prefix string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, r := range h.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// bytes returns how much of a file was sent.
func (h *fakeHub) bytes(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served[name]
}

func (h *fakeHub) setHook(f func(w http.ResponseWriter, r *http.Request, storage bool) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = f
}

func (h *fakeHub) intercepted(w http.ResponseWriter, r *http.Request, storage bool) bool {
	h.note(r, storage)
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	return hook != nil && hook(w, r, storage)
}

func (h *fakeHub) fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", code+" by the fake")
	w.WriteHeader(status)
}

func (h *fakeHub) hub(w http.ResponseWriter, r *http.Request) {
	if h.intercepted(w, r, false) {
		return
	}
	if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
		h.fail(w, 401, "RepoNotFound")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	if len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "revision" {
		h.info(w, parts[2]+"/"+parts[3], parts[5])
		return
	}
	if len(parts) < 5 || parts[2] != "resolve" {
		http.NotFound(w, r)
		return
	}
	repo := h.repos[parts[0]+"/"+parts[1]]
	name, _ := url.PathUnescape(strings.Join(parts[4:], "/"))
	if repo == nil || parts[3] != repo.commit {
		h.fail(w, 404, "RevisionNotFound")
		return
	}
	data, ok := repo.files[name]
	if !ok {
		h.fail(w, 404, "EntryNotFound")
		return
	}
	w.Header().Set("X-Repo-Commit", repo.commit)
	if large(name) {
		w.Header().Set("X-Linked-Etag", `"`+hash256(data)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Header().Set("Location", h.storage.URL+"/"+parts[0]+"/"+parts[1]+(&url.URL{Path: "/" + name}).EscapedPath()+"?signature=secret")
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+hashGit(data)+`"`)
	h.serve(w, r, name, data)
}

func (h *fakeHub) store(w http.ResponseWriter, r *http.Request) {
	if h.intercepted(w, r, true) {
		return
	}
	parts := strings.SplitN(strings.Trim(r.URL.Path, "/"), "/", 3)
	h.serve(w, r, parts[2], h.repos[parts[0]+"/"+parts[1]].files[parts[2]])
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	http.ServeContent(&countingWriter{w, h, name}, r, "", time.Time{}, bytes.NewReader(data))
}

// countingWriter counts before it sends, so that who has read all of a body
// finds it counted.
type countingWriter struct {
	http.ResponseWriter
	h    *fakeHub
	name string
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	w.h.served[w.name] += len(p)
	w.h.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

func (h *fakeHub) info(w http.ResponseWriter, name, revision string) {
	repo := h.repos[name]
	if repo == nil {
		h.fail(w, 401, "RepoNotFound")
		return
	}
	if revision != "main" && revision != repo.commit && revision != "refs%2Fpr%2F1" {
		h.fail(w, 404, "RevisionNotFound")
		return
	}
	type sibling struct {
		Name string `json:"rfilename"`
		Size int    `json:"size"`
	}
	var info struct {
		SHA      string    `json:"sha"`
		Siblings []sibling `json:"siblings"`
	}
	info.SHA = repo.commit
	for n, data := range repo.files {
		info.Siblings = append(info.Siblings, sibling{n, len(data)})
	}
	json.NewEncoder(w).Encode(info)
}

func hash256(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }
func hashGit(data []byte) string {
	s := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(s[:])
}

// content is n bytes that depend on a name.
func content(name string, n int) []byte {
	out := make([]byte, n)
	h := sha256.Sum256([]byte(name))
	for i := range out {
		if i%32 == 0 && i > 0 {
			h = sha256.Sum256(h[:])
		}
		out[i] = h[i%32]
	}
	return out
}

// addModel puts a model of one weight file into the hub.
func (h *fakeHub) addModel(name string, commit, weights int) *fakeRepo {
	r := &fakeRepo{commitOf(commit), map[string][]byte{
		"config.json":           []byte(`{"model_type":"bitnet"}`),
		"tokenizer.json":        []byte(`{}`),
		"tokenizer_config.json": {},
		"README.md":             []byte("read me"),
		"original/params.json":  []byte("{}"),
		"model.safetensors":     content(name, weights),
	}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[name] = r
	return r
}

func mustRef(t testing.TB, s string) Ref {
	t.Helper()
	r, err := ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pull plans and fetches.
func pull(t testing.TB, c *Client, ref string) (string, error) {
	t.Helper()
	p, err := c.Plan(t.Context(), mustRef(t, ref))
	if err != nil {
		return "", err
	}
	return c.Pull(t.Context(), p)
}

func mustPull(t testing.TB, c *Client, ref string) string {
	t.Helper()
	path, err := pull(t, c, ref)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, wrong ones; want %d", filepath.Base(path), len(got), len(want))
	}
}
