package asm

import (
	"math/rand/v2"
	"testing"

	"github.com/trit-ml/trit/internal/cpu"
)

// eachISA runs f as a subtest for everything this machine can run.
func eachISA(t *testing.T, f func(t *testing.T, isa ISA)) {
	for _, isa := range Available(cpu.Hardware()) {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randCodes(r *rand.Rand, n int) []int8 {
	s := make([]int8, n)
	for i := range s {
		s[i] = int8(r.IntN(3)) - 1
	}
	return s
}

func randI8(r *rand.Rand, n int) []int8 {
	s := make([]int8, n)
	for i := range s {
		s[i] = int8(r.IntN(256) - 128)
	}
	return s
}

func fill[T element](n int, v T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestAvailableObeysToggles(t *testing.T) {
	for toggles, want := range map[string]ISA{"-all": Generic, "-f16c": Generic, "-avx512vnni": AVXVNNI, "-avx512,-avxvnni": AVX2} {
		f, err := cpu.Hardware().Apply(toggles)
		if err != nil {
			t.Fatal(err)
		}
		if got := Best(f); got > want {
			t.Errorf("Best with %s = %v, want at most %v", toggles, got, want)
		}
	}
	all := cpu.Set(0).With(cpu.AVX2 | cpu.FMA | cpu.F16C | cpu.AVX512 | cpu.AVX512VNNI)
	want := Generic
	if native {
		want = AVX512
	}
	if got := Best(all); got != want {
		t.Errorf("Best(%v) = %v, want %v", all, got, want)
	}
}
