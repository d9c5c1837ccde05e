//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices"
)

func TestAlloc(t *testing.T) {
	r := newRig(t)
	buf, err := r.d.Alloc(1 << 20)
	r.must(err)
	got := bytes.Repeat([]byte{1}, 1<<20)
	r.must(r.q.Read(got, buf, 0))
	r.sync()
	if !bytes.Equal(got, make([]byte, 1<<20)) {
		t.Error("new memory is not zero")
	}
	_, err = r.d.Alloc(1 << 50)
	if err == nil || !strings.Contains(err.Error(), "1048576.0 GiB asked") || !strings.Contains(err.Error(), "free GPU memory") {
		t.Errorf("too much memory: %v", err)
	}
	t.Log(err)
	r.must(buf.Free())
	r.must(buf.Free())
	if err := r.q.Write(buf, 0, []byte{1}); err == nil {
		t.Error("wrote to freed memory")
	}
	if b, err := r.d.Alloc(0); err != nil || b.Size() != 0 {
		t.Errorf("Alloc(0): %v, %v", b, err)
	}
	if _, err := r.d.Alloc(-1); err == nil {
		t.Error("allocated a negative size")
	}
}

// TestCopies sends bytes round, small and large, many times the staging memory
// without a Sync, and reuses the source at once.
func TestCopies(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(8, 8))
	const piece, pieces = 40 << 10, 100
	a, err := r.d.Alloc(piece * pieces)
	r.must(err)
	b, err := r.d.Alloc(piece * pieces)
	r.must(err)
	want := make([]byte, piece*pieces)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	src := make([]byte, piece)
	for i := range pieces {
		copy(src, want[i*piece:])
		r.must(r.q.Write(a, i*piece, src))
	}
	r.must(r.q.Copy(b, 0, a, 0, len(want)))
	small, large := make([]byte, len(want)), make([]byte, len(want))
	for i := range pieces {
		r.must(r.q.Read(small[i*piece:(i+1)*piece], b, i*piece))
	}
	r.must(r.q.Read(large, b, 0))
	r.sync()
	if !bytes.Equal(small, want) || !bytes.Equal(large, want) {
		t.Error("bytes changed on the way")
	}
	r.must(r.q.Write(a, 0, large)) // in one piece
	got := make([]byte, 3)
	r.must(r.q.Read(got, a, len(want)-3))
	r.sync()
	if !bytes.Equal(got, want[len(want)-3:]) {
		t.Errorf("read %v at an offset", got)
	}
	for _, err := range []error{
		r.q.Write(a, len(want)-1, []byte{1, 2}), r.q.Read(got, a, -1), r.q.Copy(a, 0, b, 1, len(want)),
	} {
		if err == nil {
			t.Error("a copy beyond the buffer was accepted")
		}
	}
	r.must(a.Free())
	r.must(b.Free())
}

// TestSyncCancelled gives up waiting for long work and waits again.
func TestSyncCancelled(t *testing.T) {
	if testing.Short() {
		t.Skip("long work: left out by -short")
	}
	r := newRig(t)
	rng := rand.New(rand.NewPCG(9, 9))
	z := size3{64, 8192, 4096}
	c := r.newChain(z, newWeights(z, rng))
	seq, err := r.q.Capture(c.launches)
	r.must(err)
	r.sync()
	// As many replays as it takes: a GPU does hundreds in the time.
	for n := 1; ; n *= 2 {
		for range n {
			r.must(seq.Replay())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Microsecond)
		err := r.q.Sync(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		r.must(err)
		if n > 10000 {
			t.Fatal("Sync of long work never meets its deadline")
		}
	}
	r.sync()
	r.must(seq.Free())
}

type otherBuffer struct{ devices.Buffer }

func TestForeignValues(t *testing.T) {
	r := newRig(t)
	if err := r.q.Write(otherBuffer{}, 0, []byte{1}); err == nil {
		t.Error("wrote to another device's buffer")
	}
	if err := r.q.Launch("nonsense"); err == nil {
		t.Error("launched another device's launch")
	}
	if _, err := r.q.Capture([]devices.Launch{1}); err == nil {
		t.Error("captured another device's launch")
	}
	if _, err := Open(99); err == nil || !strings.Contains(err.Error(), "no such GPU") {
		t.Errorf("Open(99): %v", err)
	}
	r.sync() // the mistakes left the queue usable
}

// TestLostDevice makes a kernel read outside device memory, in a process of its
// own, since the process's context is gone afterwards.
func TestLostDevice(t *testing.T) {
	const child = "TRIT_CUDA_LOSE"
	if os.Getenv(child) == "" {
		openGPU(t) // or skip
		cmd := exec.Command(os.Args[0], "-test.run=^TestLostDevice$", "-test.v", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	d := openGPUForLoss(t)
	q, err := d.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	k := d.Kernels()[0]
	c := exampleCalls(k)[0]
	for _, os := range [][]devices.Operand{c.In, c.Out} {
		for i := range os {
			os[i].Buf = &buffer{d: d, ptr: 0x100, size: 1 << 30}
		}
	}
	l, err := k.Bind(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Launch(l); err != nil {
		t.Fatal(err)
	}
	err = q.Sync(t.Context())
	if err == nil || !strings.Contains(err.Error(), "state is lost") {
		t.Fatalf("Sync after a bad access: %v", err)
	}
	t.Log(err)
	if where := "(kernel "; strings.HasPrefix(d.info.Name, "Emulated") && !strings.Contains(err.Error(), where) {
		t.Errorf("the emulator does not say which thread it was: %v", err)
	}
	if again := q.Launch(l); again == nil || again.Error() != err.Error() {
		t.Errorf("the next call gives %v, want the first error again", again)
	}
	// Errors, but no hang.
	t.Log("close:", q.Close())
	t.Log("close:", d.Close())
}
