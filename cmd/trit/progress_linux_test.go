package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trit-ml/trit/train"
)

// terminal opens a pseudo-terminal of some columns. The text that was written to
// it is returned when the user's side is closed.
func terminal(t *testing.T, columns uint16) (user *os.File, text func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns})
	}
	if err == nil {
		user, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	all := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with EIO when the user's side is closed
		all <- string(b)
	}()
	return user, func() string {
		user.Close()
		defer master.Close()
		return <-all
	}
}

func events() []train.Event {
	step := func(n int) train.Event {
		return train.Event{Kind: train.Stepped, Step: n, Steps: 200, Loss: 4.25, BitsPerByte: 2.5, GradNorm: 0.75, LR: 1.5e-3, TokensPerSecond: 5000, Remaining: 90 * time.Second}
	}
	return []train.Event{
		{Kind: train.Preparing, Message: "tokenizing text", Done: 1, Total: 9}, step(1), step(2),
		{Kind: train.Saved, Path: "run/checkpoints/step-00000002"}, step(7),
	}
}

// TestProgressTerminal: a terminal has one bar that is drawn again, with as many
// fields as it is wide, and other lines above it.
func TestProgressTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for columns, want := range map[uint16][]string{
		120: {"loss 4.2500  2.500 bits/byte  lr 1.5e-03  norm 0.75  5000 tokens/s  1m30s left"},
		80:  {"loss 4.2500  2.500 bits/byte  5000 tokens/s  1m30s left"},
		50:  {"loss 4.2500  1m30s left"},
	} {
		user, text := terminal(t, columns)
		p := newProgress(user, 10)
		for _, e := range events() {
			p.event(e)
		}
		p.close()
		got := text()
		for _, w := range append(want, "7/200", "saved run/checkpoints", "\x1b[") {
			if !strings.Contains(got, w) {
				t.Errorf("%d columns: no %q in %q", columns, w, got)
			}
		}
		for _, line := range strings.FieldsFunc(got, func(r rune) bool { return r == '\n' || r == '\r' || r == '\x1b' }) {
			if strings.Contains(line, "loss") && len(line) > int(columns)+3 { // and the rest of an escape
				t.Errorf("%d columns: %d in %q", columns, len(line), line)
			}
		}
	}
}

// TestProgressPlain: elsewhere there are plain lines, not one for each step.
func TestProgressPlain(t *testing.T) {
	var b strings.Builder
	p := newProgress(&b, 5)
	for _, e := range append(events(), train.Event{Kind: train.Stepped, Step: 10, Steps: 200}) {
		p.event(e)
	}
	p.close()
	if got := b.String(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 3 || !strings.Contains(got, "lr 1.50e-03  norm 0.75") {
		t.Errorf("%q", got)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Error("the null device is no terminal")
	}
}
