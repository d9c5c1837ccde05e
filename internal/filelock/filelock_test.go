package filelock

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const holdPath = "TRIT_FILELOCK_HOLD"

// TestMain makes the test binary a process that holds a lock until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(holdPath); path != "" {
		l, err := Try(path, false)
		if err == nil {
			err = l.SetNote("the other process")
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

// TestKilledHolder: a lock is held while its process lives, says by whom, and is
// free as soon as the process is killed.
func TestKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "lock")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holdPath+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := Try(path, false); !errors.Is(err, ErrLocked) {
		t.Fatalf("while it is held: %v", err)
	}
	if _, err := Try(path, true); !errors.Is(err, ErrLocked) {
		t.Errorf("shared, while it is held: %v", err)
	}
	if got := Note(path); got != "the other process" {
		t.Errorf("note %q", got)
	}
	waited := false
	got := make(chan error, 1)
	go func() {
		l, err := Wait(context.Background(), path, func() { waited = true; cmd.Process.Kill() })
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	cmd.Wait()
	if err := <-got; err != nil || !waited {
		t.Errorf("after the kill: %v, waited %v", err, waited)
	}
}

func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, err := Try(path, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Try(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(path, false); !errors.Is(err, ErrLocked) {
		t.Errorf("exclusive beside shared: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Wait(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := errors.Join(a.Release(), b.Release()); err != nil {
		t.Fatal(err)
	}
	c, err := Try(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := c.SetNote(string(make([]byte, maxNote+1))); err == nil {
		t.Error("a long note is taken")
	}
}
