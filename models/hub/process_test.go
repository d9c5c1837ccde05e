package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/trit-ml/trit/internal/filelock"
)

// killedEnv makes the test binary a client that is to be killed.
const killedEnv = "TRIT_TEST_HUB"

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(killedEnv); endpoint != "" {
		c := &Client{Endpoint: endpoint, Cache: os.Getenv("HF_HUB_CACHE")}
		ref, err := ParseRef("o/r")
		if err == nil {
			_, _, err = c.Get(context.Background(), ref)
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A process that is killed leaves no lock, and a part to go on from.
func TestKilled(t *testing.T) {
	h, whole := weights(t, 3_000_000)
	sent := make(chan struct{})
	var once sync.Once
	h.storageHook(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		w.Write(whole[:2_000_000])
		w.(http.Flusher).Flush()
		once.Do(func() { close(sent) })
		<-r.Context().Done()
		return true
	})
	c := h.client(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedEnv+"="+h.URL, "HF_HUB_CACHE="+c.Cache)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	part := c.repo("o/r").incomplete(hash256(whole))
	select {
	case <-sent:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Fatalf("the client asks for nothing: %s", out.String())
	}
	var had int64
	for range 1000 {
		if info, err := os.Stat(part); err == nil {
			if had = info.Size(); had == 2_000_000 {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	// While it lives it has the lock.
	if _, err := filelock.Try(c.repo("o/r").lock(hash256(whole)), false); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("lock: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if had == 0 {
		t.Fatalf("the client wrote nothing: %s", out.String())
	}
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
	if got, want := h.bytes("model.safetensors"), len(whole)-int(had); got != want {
		t.Errorf("%d bytes fetched after the kill, want %d", got, want)
	}
}

// Waiting for another process is told, and can be ended.
func TestWaiting(t *testing.T) {
	h, whole := weights(t, 1000)
	c := h.client(t)
	lock, err := filelock.Try(c.repo("o/r").lock(hash256(whole)), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(p Progress) {
		if p.Waiting {
			cancel()
		}
	}
	if _, _, err := c.Get(ctx, mustRef(t, "o/r")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, filepath.Join(mustPull(t, c, "o/r"), "model.safetensors"), whole)
}
