//go:build cuda

package cuda

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestSmallWrites mixes writes of all sizes, which may overlap, with reads and copies, and
// compares with the same on a slice.
func TestSmallWrites(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(7, 8))
	const size = 1 << 14
	buf, err := r.d.Alloc(size)
	r.must(err)
	want := make([]byte, size)
	for i := range 2000 {
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
		switch rng.IntN(30) {
		case 0:
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
}
