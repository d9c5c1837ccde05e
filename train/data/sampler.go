package data

import (
	"fmt"
	"math/bits"
)

// Position is where a sampler stands. It is all the state there is.
type Position struct {
	Epoch int `json:"epoch"`
	Index int `json:"index"` // windows of the epoch already visited
}

// Sampler visits every window of a stream once an epoch, in an order that
// depends on the seed and the epoch only. Windows begin at a different offset
// each epoch, so that borders move.
type Sampler struct {
	s      *Stream
	layout Layout
	seed   uint64
	window int
	at     Position

	order permutation // of the current epoch
	phase int
}

// NewSampler returns a sampler at a position.
func NewSampler(s *Stream, layout Layout, window int, seed uint64, at Position) (*Sampler, error) {
	if s.Len() < window+1 {
		return nil, fmt.Errorf("data: the training text has %d tokens, a window needs %d: use more text or a shorter window", s.Len(), window+1)
	}
	p := &Sampler{s: s, layout: layout, seed: seed, window: window}
	if at.Epoch < 0 || at.Index < 0 {
		return nil, fmt.Errorf("data: position %+v is negative", at)
	}
	p.enter(at.Epoch)
	if at.Index > p.order.n {
		return nil, fmt.Errorf("data: position %+v is outside of %d windows", at, p.order.n)
	}
	p.at.Index = at.Index
	return p, nil
}

func (p *Sampler) enter(epoch int) {
	p.at = Position{Epoch: epoch}
	key := mix(p.seed ^ mix(uint64(epoch)+1))
	spare := (p.s.Len() - 1) % p.window
	if p.s.Len()-1 >= 2*p.window {
		spare = p.window - 1
	}
	p.phase = int(mix(key+1) % uint64(spare+1))
	p.order = newPermutation((p.s.Len()-1-p.phase)/p.window, key)
}

// Position is where the next batch begins.
func (p *Sampler) Position() Position { return p.at }

// Windows is the number of windows of the current epoch.
func (p *Sampler) Windows() int { return p.order.n }

// Next fills b with the next windows.
func (p *Sampler) Next(b *Batch) {
	b.Reset()
	for r := range b.Rows {
		if p.at.Index == p.order.n {
			p.enter(p.at.Epoch + 1)
		}
		b.Fill(r, p.s, p.phase+p.window*p.order.at(p.at.Index), 0, &p.layout)
		p.at.Index++
	}
}

// permutation is a keyed bijection of [0, n): a Feistel network over the next
// even power of two, walked until it lands inside.
type permutation struct {
	n    int
	half uint // bits of each half
	key  uint64
}

func newPermutation(n int, key uint64) permutation {
	return permutation{n: n, half: uint(bits.Len(uint(max(n-1, 1)))+1) / 2, key: key}
}

func (p permutation) at(i int) int {
	x, mask := uint64(i), uint64(1)<<p.half-1
	for {
		l, r := x>>p.half, x&mask
		for round := range uint64(4) {
			l, r = r, l^mix(p.key^mix(r<<3|round))&mask
		}
		if x = l<<p.half | r; x < uint64(p.n) {
			return int(x)
		}
	}
}

// mix is SplitMix64's output function (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
