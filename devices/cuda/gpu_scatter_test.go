//go:build cuda

package cuda

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/trit-ml/trit/devices"
)

// TestSmallWrites mixes writes, copies and reads of all sizes, which may overlap, with
// fences, and compares with the same on a slice.
func TestSmallWrites(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(7, 8))
	const size = 1 << 14
	buf, err := r.d.Alloc(size)
	r.must(err)
	want := make([]byte, size)
	r.must(r.q.Write(buf, 0, want))
	fence, err := r.q.(devices.Fencer).NewFence()
	r.must(err)
	var read, due [][]byte // what the fence is behind
	wait := func() {
		r.must(fence.Wait(t.Context()))
		if !reflect.DeepEqual(read, due) {
			t.Fatalf("reads before a fence differ")
		}
		read, due = nil, nil
	}
	for i := range 3000 {
		n := 4 * (1 + rng.IntN(20))
		switch rng.IntN(10) {
		case 0:
			n = 1 + rng.IntN(80)
		case 1:
			n = 1 + rng.IntN(size/2)
		}
		off := rng.IntN(size - n)
		if rng.IntN(8) > 0 {
			off &^= 3
		}
		src := make([]byte, n)
		for j := range src {
			src[j] = byte(rng.Uint32())
		}
		r.must(r.q.Write(buf, off, src))
		copy(want[off:], src)
		clear(src) // Write has taken it
		if n%4 == 0 && rng.IntN(4) == 0 {
			from := rng.IntN(size-n) &^ 3
			if from+n <= off || off+n <= from {
				r.must(r.q.Copy(buf, off, buf, from, n))
				copy(want[off:off+n], want[from:])
			}
			read, due = append(read, make([]byte, n)), append(due, bytes.Clone(want[off:off+n]))
			r.must(r.q.Read(read[len(read)-1], buf, off))
		}
		switch rng.IntN(30) {
		case 2:
			r.must(fence.Set())
			r.must(r.q.Write(buf, 0, src))
			copy(want, make([]byte, len(src)))
			wait()
		case 0:
			r.must(fence.Set())
			wait()
			got := make([]byte, size)
			r.must(r.q.Read(got, buf, 0))
			r.sync()
			if !bytes.Equal(got, want) {
				t.Fatalf("after %d writes the bytes differ", i+1)
			}
		case 1:
			r.must(r.q.Copy(buf, 0, buf, size/2, size/4))
			copy(want, want[size/2:size/2+size/4])
		}
	}
	other, err := r.d.Alloc(64)
	r.must(err)
	r.must(r.q.Write(other, 0, want[:8]))
	r.must(r.q.Write(buf, 0, want[:8]))
	r.must(other.Free()) // with a write that has not been queued
	r.sync()
	r.must(buf.Free())
	r.must(fence.Free())
}
