package runtime

import (
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/devices"
)

func TestPack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var used, least int
	for range 500 {
		calls := 1 + rng.IntN(40)
		spans := make([]*span, rng.IntN(60))
		sum := 0
		for i := range spans {
			first := rng.IntN(calls+1) - 1
			s := &span{first: first, last: first + rng.IntN(calls-first+1), off: -1}
			if s.bytes = rng.IntN(4) * rng.IntN(1000); s.bytes == 0 {
				s.off = 0
			}
			spans[i] = s
			sum += align(s.bytes)
		}
		total := pack(spans)
		for i, a := range spans {
			if a.off < 0 || a.off%devices.Align != 0 || a.off+a.bytes > total && a.bytes > 0 {
				t.Fatalf("span %+v is outside an arena of %d or not aligned", a, total)
			}
			for _, b := range spans[:i] {
				if a.first <= b.last && b.first <= a.last && a.off < b.off+b.bytes && b.off < a.off+a.bytes {
					t.Fatalf("%+v and %+v overlap", a, b)
				}
			}
		}
		peak := livePeak(spans, calls)
		if total < peak || total > sum {
			t.Fatalf("arena of %d; live peak %d, sum %d", total, peak, sum)
		}
		used, least = used+total, least+peak
	}
	if over := float64(used) / float64(least); over > 1.06 {
		t.Errorf("arenas are %.2f times the live peak", over)
	} else {
		t.Logf("arenas are %.3f times the live peak", over)
	}
}

// A chain needs two buffers however long it is.
func TestPackChain(t *testing.T) {
	var spans []*span
	for i := range 50 {
		spans = append(spans, &span{first: i, last: i + 1, bytes: 256})
	}
	if got := pack(spans); got != 512 {
		t.Errorf("a chain of 256-byte values needs %d bytes, want 512", got)
	}
}
