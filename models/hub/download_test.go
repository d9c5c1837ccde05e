package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const weightsPath = "/o/r/model.safetensors"

// weights returns a hub with one model, and its weights.
func weights(t testing.TB, n int) (*fakeHub, []byte) {
	h := newHub(t)
	return h, h.addModel("o/r", 1, n).files["model.safetensors"]
}

// leave puts a part of the weights into the cache, as a cut-off download leaves it.
func leave(t testing.TB, c *Client, whole, part []byte) string {
	t.Helper()
	path := c.repo("o/r").incomplete(hash256(whole))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, part, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// storageHook answers GET requests of the storage for the weights.
func (h *fakeHub) storageHook(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		return storage && strings.HasSuffix(r.URL.Path, "model.safetensors") && f(w, r)
	})
}

func TestResume(t *testing.T) {
	for name, part := range map[string]func(whole []byte) []byte{
		"half":     func(w []byte) []byte { return w[:len(w)/2] },
		"one byte": func(w []byte) []byte { return w[:1] },
		"but one":  func(w []byte) []byte { return w[:len(w)-1] },
		"all":      func(w []byte) []byte { return w },
		"nothing":  func(w []byte) []byte { return nil },
	} {
		h, whole := weights(t, 300_000)
		c := h.client(t)
		leave(t, c, whole, part(whole))
		wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
		if got, want := h.bytes("model.safetensors"), len(whole)-len(part(whole)); got != want {
			t.Errorf("%s: %d bytes fetched, want %d", name, got, want)
		}
	}
	// A part that is damaged, or longer than the whole, is fetched again.
	for name, part := range map[string]func(whole []byte) []byte{
		"flipped bit": func(w []byte) []byte { p := bytes.Clone(w[:len(w)/2]); p[7] ^= 1; return p },
		"wrong all":   func(w []byte) []byte { return make([]byte, len(w)) },
		"too long":    func(w []byte) []byte { return append(bytes.Clone(w), "more"...) },
	} {
		h, whole := weights(t, 300_000)
		c := h.client(t)
		leave(t, c, whole, part(whole))
		wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
		if got := h.bytes("model.safetensors"); got < len(whole) {
			t.Errorf("%s: only %d bytes fetched", name, got)
		}
	}
}

// Answers that end too early add up to the whole.
func TestTruncated(t *testing.T) {
	h, whole := weights(t, 300_000)
	var gets atomic.Int32
	h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		gets.Add(1)
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(whole)-1, len(whole)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(whole[from:min(from+40_000, len(whole))])
		return true // the server closes a connection that lacks bytes
	})
	c := h.client(t)
	c.Attempts = 2
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
	if n := gets.Load(); n != 8 {
		t.Errorf("%d requests, want 8: each goes on where the last ended", n)
	}
}

// Servers that answer ranges in odd ways cost bytes, not correctness.
func TestOddRanges(t *testing.T) {
	for name, odd := range map[string]func(w http.ResponseWriter, whole []byte){
		"ignored": func(w http.ResponseWriter, whole []byte) { w.Write(whole) },
		"refused": func(w http.ResponseWriter, whole []byte) { w.WriteHeader(416) },
		"other": func(w http.ResponseWriter, whole []byte) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(206)
			w.Write(whole[5:10])
		},
		"none":      func(w http.ResponseWriter, whole []byte) { w.WriteHeader(206); w.Write(whole) },
		"too long":  func(w http.ResponseWriter, whole []byte) { w.Write(append(bytes.Clone(whole), 'x')) },
		"too short": func(w http.ResponseWriter, whole []byte) { w.Write(whole[1:]) },
		"endless": func(w http.ResponseWriter, whole []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", len(whole)/2, 1<<40))
			w.WriteHeader(206)
			for range 100 {
				w.Write(whole)
			}
		},
	} {
		h, whole := weights(t, 300_000)
		var seen atomic.Bool
		h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" || seen.Swap(true) {
				return false
			}
			odd(w, whole)
			return true
		})
		c := h.client(t)
		leave(t, c, whole, whole[:len(whole)/2])
		path, err := pull(t, c, "o/r")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantFile(t, filepath.Join(path, "model.safetensors"), whole)
		if !seen.Load() {
			t.Errorf("%s: no range was asked for", name)
		}
	}
}

// A server that fails for a while is asked again, when it wants to be.
func TestRetries(t *testing.T) {
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		h, whole := weights(t, 1000)
		failures := map[string]int{}
		h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			key := r.Method + r.Host + r.URL.Path
			if failures[key]++; failures[key] > 2 {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		wantFile(t, filepath.Join(mustPull(t, h.client(t), "o/r"), "model.safetensors"), whole)
	}
	h, _ := weights(t, 1000)
	var once sync.Once
	h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) (done bool) {
		once.Do(func() {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			done = true
		})
		return done
	})
	start := time.Now()
	mustPull(t, h.client(t), "o/r")
	if d := time.Since(start); d < time.Second {
		t.Errorf("came back after %v, the server asked for 1 s", d)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "7": 7 * time.Second, "99999999": time.Hour,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "Fri, 02 Jan 2026 23:04:00 GMT": time.Hour,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("Retry-After %q: %v, want %v", v, got, want)
		}
	}
}

// Content that is not what the hub announced never gets its name.
func TestChecksum(t *testing.T) {
	for _, file := range []string{"model.safetensors", "config.json"} {
		h, whole := weights(t, 1000)
		h.setHook(func(w http.ResponseWriter, r *http.Request, storage bool) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/"+file) || storage != large(file) {
				return false
			}
			data := bytes.Clone(h.repos["o/r"].files[file])
			data[3] ^= 0x10
			w.Write(data)
			return true
		})
		c := h.client(t)
		_, err := pull(t, c, "o/r")
		if !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", file, err)
		}
		if n := h.count("GET /o/r/" + file); large(file) && n != 2 {
			t.Errorf("%s: fetched %d times, want 2", file, n)
		}
		r := c.repo("o/r")
		if r.complete(commitOf(1), file) {
			t.Errorf("%s is in the snapshot", file)
		}
		if _, err := os.Stat(r.blob(hash256(whole))); err == nil && large(file) {
			t.Error("the blob is there")
		}
		h.setHook(nil)
		wantFile(t, filepath.Join(mustPull(t, c, "o/r"), file), h.repos["o/r"].files[file])
	}
}

// A slow download ends when it is told to, and goes on later.
func TestCancel(t *testing.T) {
	h, whole := weights(t, 300_000)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		w.Write(whole[:100_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done() // never more
		return true
	})
	c := h.client(t)
	c.Progress = func(p Progress) {
		if p.File == "model.safetensors" && p.Done > 0 {
			cancel(stop)
		}
	}
	p, err := c.Plan(ctx, mustRef(t, "o/r"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(ctx, p); !errors.Is(err, stop) {
		t.Fatalf("error %v", err)
	}
	h.setHook(nil)
	c.Progress = nil
	had, err := os.Stat(c.repo("o/r").incomplete(hash256(whole)))
	if err != nil || had.Size() == 0 {
		t.Fatalf("nothing is left to go on from: %v", err)
	}
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
	if got, want := h.bytes("model.safetensors"), len(whole)-int(had.Size()); got != want {
		t.Errorf("%d bytes fetched, want %d", got, want)
	}
}

// A connection that falls silent is given up and taken up again.
func TestStall(t *testing.T) {
	h, whole := weights(t, 300_000)
	var first atomic.Bool
	h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
		if first.Swap(true) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		w.Write(whole[:100_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	c := h.client(t)
	c.Stall = 100 * time.Millisecond
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
	if got := h.bytes("model.safetensors"); got >= len(whole) {
		t.Errorf("%d bytes fetched after the silence, want less than all", got)
	}
}

// Several clients of one cache fetch every file once.
func TestParallelClients(t *testing.T) {
	h, whole := weights(t, 500_000)
	h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
		time.Sleep(20 * time.Millisecond)
		return false
	})
	cache := t.TempDir()
	var g sync.WaitGroup
	for range 6 {
		g.Go(func() {
			c := h.client(t)
			c.Cache = cache
			path, err := pull(t, c, "o/r")
			if err != nil {
				t.Error(err)
				return
			}
			wantFile(t, filepath.Join(path, "model.safetensors"), whole)
		})
	}
	g.Wait()
	if n := h.count("GET " + weightsPath); n != 1 {
		t.Errorf("the weights were fetched %d times", n)
	}
}

func TestDiskFull(t *testing.T) {
	h, whole := weights(t, 300_000)
	c := h.client(t)
	c.free = func(string) (int64, error) { return 100_000, nil }
	if _, err := pull(t, c, "o/r"); !errors.Is(err, ErrNoSpace) {
		t.Errorf("error %v", err)
	}
	if n := h.count("GET " + weightsPath); n > 0 {
		t.Error("the download began all the same")
	}
	leave(t, c, whole, whole[:250_000]) // with most of it there, there is room
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full to write to")
	}
	defer full.Close()
	d := &download{what: "o/r:x", m: remote{size: 10}, file: full, report: func(int64) {}}
	if err := d.copy(strings.NewReader("0123456789")); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "at byte 0 of 10") {
		t.Errorf("error %v", err)
	}
}

func TestSpace(t *testing.T) {
	n, err := freeSpace(t.TempDir())
	if runtime.GOOS == "linux" && (err != nil || n <= 0) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestSecretsInErrors(t *testing.T) {
	h, _ := weights(t, 1000)
	h.storage.Close()
	c := h.client(t)
	c.Attempts = 1
	_, err := pull(t, c, "o/r")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
