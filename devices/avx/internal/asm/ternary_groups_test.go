package asm

import (
	"fmt"
	"slices"
	"testing"
)

// TestTernaryGroups compares both products with the definition, bit by bit, for
// hostile activations, rows that do not fill a panel and tokens that do not fill a
// tile.
func TestTernaryGroups(t *testing.T) {
	eachISA(t, func(t *testing.T, isa ISA) {
		r := newRand(11)
		for _, c := range []struct{ m, n, k, groups int }{
			{1, 1, 16, 1}, {1, 40, 64, 4}, {2, 16, 96, 3}, {5, 33, 80, 5}, {13, 64, 256, 2}, {25, 70, 640, 5}, {12, 17, 1024, 8}, {30, 128, 112, 7},
		} {
			codes, q := randCodes(r, c.n*c.k), make([]int8, c.m*c.k)
			for i := range q {
				q[i] = []int8{-128, 127, 1, int8(r.Uint32())}[r.IntN(4)]
			}
			gamma, s := make([]float32, c.n*c.groups), make([]float32, c.m)
			for i := range gamma {
				gamma[i] = r.Float32()*3 - 1
			}
			for i := range s {
				s[i] = r.Float32() + 0.1
			}
			size := c.k / c.groups
			want, sums := make([]float32, c.m*c.n), make([]int32, c.m*c.groups)
			for i := range c.m {
				for g := range c.groups {
					sums[i*c.groups+g] = SumI8(q[i*c.k+g*size:][:size])
				}
				for j := range c.n {
					var y float32
					for g := range c.groups {
						acc := naive(codes[j*c.k+g*size:][:size], q[i*c.k+g*size:][:size], 1, size)
						y += float32(float32(acc[0]) * gamma[j*c.groups+g])
					}
					want[i*c.n+j] = y / s[i]
				}
			}
			name := fmt.Sprintf("%+v", c)
			panels := fill[byte](TernaryPanelsBytes(c.n, c.k), 0xff)
			isa.TernaryPanels(panels, codes, c.n, c.k, 0, c.n)
			packed, again := make([]byte, PackedBytes(c.n, c.k)), fill[byte](len(panels), 0xff)
			PackTernary(packed, codes, c.n, c.k)
			isa.UnpackPanels(again, packed, c.n, c.k)
			for i := range c.n { // what pads may differ
				for j := range c.k {
					at := i/PanelRows*PanelRows*c.k + j/4*64 + 4*(i%PanelRows) + j%4
					if panels[at] != again[at] {
						t.Fatalf("%s: row %d, column %d is unpacked as %d, want %d", name, i, j, again[at], panels[at])
					}
				}
			}
			scales := fill[float32](GroupScalesLen(c.n, c.groups), 9)
			isa.GroupScales(scales, gamma, c.groups, 0, c.n)
			got := fill[float32](c.m*c.n, -7)
			var mem GroupScratch
			isa.TernaryMulGroups(got, c.n, panels, q, sums, scales, s, c.m, c.n, c.k, c.groups, &mem)
			if !slices.Equal(got, want) {
				t.Errorf("%s: many tokens: %v, want %v", name, got[:1], want[:1])
			}
			got = fill[float32](c.m*c.n, -7)
			for i := range c.m {
				isa.TernaryGroupsGEMV(got[i*c.n:][:c.n], packed, q[i*c.k:], sums[i*c.groups:], scales, s[i], c.n, c.k, c.groups, 0, c.n, &mem)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: one token at a time: %v, want %v", name, got[:1], want[:1])
			}
		}
	})
}
