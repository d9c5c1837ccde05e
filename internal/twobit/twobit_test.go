package twobit

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 70 {
		src := make([]byte, n)
		var want [4][]int8
		for i := range src {
			for k := range want {
				v := rng.IntN(3)
				src[i] |= byte(v) << (2 * k)
				want[k] = append(want[k], int8(v-1))
			}
		}
		var got [4][]int8
		for k := range got {
			got[k] = make([]int8, n)
		}
		if !Unpack(got[0], got[1], got[2], got[3], src) {
			t.Fatalf("n=%d: valid bytes rejected", n)
		}
		for k := range got {
			if !slices.Equal(got[k], want[k]) && n > 0 {
				t.Fatalf("n=%d field %d: got %v want %v", n, k, got[k], want[k])
			}
		}
		back := make([]byte, n)
		if !Pack(back, got[0], got[1], got[2], got[3]) || !bytes.Equal(back, src) {
			t.Fatalf("n=%d: packed to %x, want %x", n, back, src)
		}
		if n == 0 {
			continue
		}
		at, field := rng.IntN(n), rng.IntN(4)
		src[at] |= 3 << (2 * field)
		if Unpack(got[0], got[1], got[2], got[3], src) {
			t.Fatalf("n=%d: field %d of byte %d holds 3 and was accepted", n, field, at)
		}
		got[field][at] = []int8{-2, 2, 127, -128}[rng.IntN(4)]
		if Pack(back, got[0], got[1], got[2], got[3]) {
			t.Fatalf("n=%d: code %d was accepted", n, got[field][at])
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	const n = 1 << 16
	src, dst := make([]byte, n), make([]int8, 4*n)
	b.SetBytes(4 * n)
	for b.Loop() {
		Unpack(dst[:n], dst[n:2*n], dst[2*n:3*n], dst[3*n:], src)
	}
}

func BenchmarkPack(b *testing.B) {
	const n = 1 << 16
	dst, src := make([]byte, n), make([]int8, 4*n)
	b.SetBytes(4 * n)
	for b.Loop() {
		Pack(dst, src[:n], src[n:2*n], src[2*n:3*n], src[3*n:])
	}
}
