package asm

import "testing"

// TestNotTernary puts every byte at every place of a row among valid codes.
func TestNotTernary(t *testing.T) {
	codes := randCodes(newRand(5), 21)
	if i := NotTernary(codes); i != -1 {
		t.Fatalf("valid codes: found %d at %d", codes[i], i)
	}
	for at := range codes {
		was := codes[at]
		for v := -128; v < 128; v++ {
			want := at
			if v >= -1 && v <= 1 {
				want = -1
			}
			codes[at] = int8(v)
			if got := NotTernary(codes); got != want {
				t.Fatalf("code %d at %d: found at %d, want %d", v, at, got, want)
			}
		}
		codes[at] = was
	}
}

func BenchmarkPackTernary(b *testing.B) {
	const n, k = 2560, 2560
	codes, packed := randCodes(newRand(1), n*k), make([]byte, PackedBytes(n, k))
	b.SetBytes(n * k)
	for b.Loop() {
		PackTernary(packed, codes, n, k)
	}
}
