package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// Errors say what is wrong and can be told apart.
func TestErrors(t *testing.T) {
	h := newHub(t)
	h.addModel("o/r", 1, 10)
	for name, c := range map[string]struct {
		ref    string
		status int
		code   string
		is     error
		want   string
	}{
		"no repo":     {ref: "o/none", is: ErrNotFound, want: "set HF_TOKEN if it is private"},
		"no revision": {ref: "o/r@none", is: ErrNotFound, want: "the revision is not found"},
		"no file":     {ref: "o/r:none.gguf", is: ErrNotFound, want: "the file none.gguf"},
		"gated":       {ref: "o/r", status: 403, code: "GatedRepo", is: ErrDenied, want: "accept terms"},
		"gated 401":   {ref: "o/r", status: 401, code: "GatedRepo", is: ErrDenied, want: "accept terms"},
		"401":         {ref: "o/r", status: 401, is: ErrDenied, want: "HF_TOKEN"},
		"403":         {ref: "o/r", status: 403, is: ErrDenied, want: "Forbidden"},
		"404":         {ref: "o/r", status: 404, is: ErrNotFound, want: "404"},
		"400":         {ref: "o/r", status: 400, want: "400"},
		"500":         {ref: "o/r", status: 500, want: "500 Internal Server Error (after 3 tries)"},
	} {
		h.mu.Lock()
		h.requests = nil
		h.mu.Unlock()
		h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
			if c.status == 0 {
				return false
			}
			if c.code != "" {
				h.fail(w, c.status, c.code)
			} else {
				w.WriteHeader(c.status)
			}
			return true
		})
		client := h.client(t)
		client.Attempts = 3
		_, err := pull(t, client, c.ref)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %v with %q", name, err, c.is, c.want)
		}
		if n := h.count(""); n != 1 && c.status != 500 || c.status == 500 && n != 3 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// Answers that are not the hub's are refused.
func TestHostileHub(t *testing.T) {
	good := commitOf(1)
	for name, c := range map[string]struct{ info, etag, commit, want string }{
		"no JSON":       {info: "<html>", want: "is not the hub's"},
		"no commit":     {info: `{"sha":"../../x"}`, want: "names no commit"},
		"path upwards":  {info: `{"sha":"` + good + `","siblings":[{"rfilename":"../x.gguf"}]}`, want: "unsafe name"},
		"absolute path": {info: `{"sha":"` + good + `","siblings":[{"rfilename":"/x.gguf"}]}`, want: "unsafe name"},
		"backslash":     {info: `{"sha":"` + good + `","siblings":[{"rfilename":"..\\x.gguf"}]}`, want: "unsafe name"},
		"drive":         {info: `{"sha":"` + good + `","siblings":[{"rfilename":"c:x.gguf"}]}`, want: "unsafe name"},
		"no etag":       {want: "no usable etag"},
		"etag upwards":  {etag: `"../../../x"`, want: "no usable etag"},
		"etag dots":     {etag: `".."`, want: "no usable etag"},
		"etag part":     {etag: `"x.incomplete"`, want: "no usable etag"},
		"other commit":  {etag: `"abc"`, commit: commitOf(2), want: "answers for commit"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/api/") {
				if c.info == "" {
					c.info = `{"sha":"` + good + `","siblings":[{"rfilename":"x.gguf"}]}`
				}
				w.Write([]byte(c.info))
				return
			}
			if c.etag != "" {
				w.Header().Set("ETag", c.etag)
			}
			if c.commit != "" {
				w.Header().Set("X-Repo-Commit", c.commit)
			}
			w.Write([]byte("x"))
		}))
		client := &Client{Endpoint: s.URL, Cache: t.TempDir(), Attempts: 1}
		if _, err := pull(t, client, "o/r"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		s.Close()
	}
}

// A server without the hub's headers, such as a plain mirror, works too.
func TestPlainServer(t *testing.T) {
	data := content("x", 5000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/mirror/api/") {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"x.gguf"}]}`, commitOf(1))
			return
		}
		w.Header().Set("ETag", `"0123456789012345678901234567890123456789"`) // no hash of Git's
		w.Write(data)
	}))
	defer s.Close()
	c := &Client{Endpoint: s.URL + "/mirror/", Cache: t.TempDir(), Attempts: 1}
	wantFile(t, mustPull(t, c, "o/r"), data)
}

func TestRedirects(t *testing.T) {
	h := newHub(t)
	h.token = "hf_secret"
	m := h.addModel("o/r", 1, 1000)
	// A renamed repository: the hub redirects to itself, and the token goes along.
	h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		if !strings.Contains(r.URL.Path, "old/name") {
			return false
		}
		w.Header().Set("Location", strings.Replace(r.URL.RequestURI(), "old/name", "o/r", 1))
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	})
	c := h.client(t)
	wantFile(t, filepath.Join(mustPull(t, c, "old/name"), "model.safetensors"), m.files["model.safetensors"])
	if len(h.leaks) > 0 {
		t.Errorf("the storage saw the token: %q", h.leaks)
	}
	h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
		return true
	})
	if _, err := pull(t, c, "o/r"); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Errorf("a loop: %v", err)
	}
	// From TLS to plain text.
	tls := httptest.NewTLSServer(http.RedirectHandler(h.URL+"/api", http.StatusFound))
	defer tls.Close()
	c = &Client{Endpoint: tls.URL, Cache: t.TempDir(), HTTP: tls.Client(), Attempts: 1}
	if _, err := pull(t, c, "o/r"); err == nil || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("a downgrade: %v", err)
	}
}
