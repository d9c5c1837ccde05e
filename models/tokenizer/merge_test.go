package tokenizer

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveMerge looks over all pairs for the lowest rank, leftmost, again and again.
func naiveMerge(syms []int32, merges []merge) []int32 {
	syms = slices.Clone(syms)
	for {
		best, at, to := int32(math.MaxInt32), -1, None
		for i := range len(syms) - 1 {
			for _, m := range merges {
				if m.left == syms[i] && m.right == syms[i+1] && m.rank < best {
					best, at, to = m.rank, i, m.to
				}
			}
		}
		if at < 0 {
			return syms
		}
		syms[at] = to
		syms = slices.Delete(syms, at+1, at+2)
	}
}

// randomMerges makes a merge list over n starting symbols. Ranks may repeat and
// need not grow with the ids, as in vocabularies with scores.
func randomMerges(rng *rand.Rand, n, size int) []merge {
	var merges []merge
	seen := map[uint64]bool{}
	for next := int32(n); len(merges) < size; {
		left, right := rng.Int32N(next), rng.Int32N(next)
		if key := pairKey(left, right); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		to := next
		if rng.IntN(4) == 0 && next > int32(n) { // another way to an older token
			to = int32(n) + rng.Int32N(next-int32(n))
		} else {
			next++
		}
		merges = append(merges, merge{left, right, to, rng.Int32N(int32(size))})
	}
	return merges
}

func TestMergeEqualsNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	e := &encoder{}
	for i := range 3000 {
		n := 2 + rng.IntN(4)
		merges := randomMerges(rng, n, 1+rng.IntN(20))
		p := newPairTable(len(merges))
		for _, m := range merges {
			if !p.add(m) {
				t.Fatal("the pair is new, but add says it is not")
			}
		}
		if p.add(merges[0]) {
			t.Fatal("add takes a pair twice")
		}
		syms := make([]int32, rng.IntN(60))
		if i%10 == 0 {
			syms = make([]int32, smallWord-3+rng.IntN(200))
		}
		for k := range syms {
			syms[k] = rng.Int32N(int32(n))
			if rng.IntN(20) == 0 {
				syms[k] = None
			}
		}
		want := naiveMerge(syms, merges)
		ways := map[string]func(*pairTable){"all": e.mergeAll, "heap": e.mergeHeap}
		if len(syms) <= smallWord {
			ways["small"] = e.mergeSmall
		}
		for name, way := range ways {
			e.syms = append(e.syms[:0], syms...)
			way(p)
			if !slices.Equal(e.syms, want) {
				t.Fatalf("%s: %v with %v:\n got %v\nwant %v", name, syms, merges, e.syms, want)
			}
		}
	}
}

// Words of the real vocabulary, short and long, against the rule of ranks:
// join the neighbours whose bytes have the lowest rank.
func TestLlama3EqualsRanks(t *testing.T) {
	tok := llama3(t)
	naive := func(word string) []int32 {
		if id, ok := tok.ids[word]; ok {
			return []int32{id}
		}
		parts := strings.Split(word, "")
		if len([]rune(word)) != len(word) {
			parts = parts[:0]
			for i := range len(word) {
				parts = append(parts, word[i:i+1])
			}
		}
		for {
			best, at := int32(math.MaxInt32), -1
			for i := range len(parts) - 1 {
				if id, ok := tok.ids[parts[i]+parts[i+1]]; ok && id < best {
					best, at = id, i
				}
			}
			if at < 0 {
				break
			}
			parts[at] += parts[at+1]
			parts = slices.Delete(parts, at+1, at+2)
		}
		var ids []int32
		for _, p := range parts {
			ids = append(ids, tok.ids[p])
		}
		return ids
	}
	rng := rand.New(rand.NewPCG(13, 14))
	for i := range 20_000 {
		var word strings.Builder
		for range 1 + rng.IntN(6) {
			s := tok.text[rng.IntN(llama3Base)]
			word.WriteString(s[rng.IntN(len(s)):])
		}
		if i%50 == 0 {
			s := word.String()
			for word.Len() < 200 {
				word.WriteString(s)
			}
		}
		got := tok.Encode(nil, word.String())
		var want []int32
		for _, w := range SplitLlama3.Words(word.String()) {
			want = append(want, naive(w)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q:\n got %v\nwant %v", word.String(), got, want)
		}
	}
}

// A cache that overflows many times over must not change an id.
func TestCacheOverflow(t *testing.T) {
	// ids is what the cache should hold for a word: some words have one id.
	ids := func(w []byte) []int32 {
		var out []int32
		for _, b := range w {
			out = append(out, int32(b)+1000*int32(len(w)))
		}
		if w[0]%2 == 0 {
			out = out[:1]
		}
		return out
	}
	c := newWordCache()
	rng := rand.New(rand.NewPCG(15, 16))
	hits, misses := 0, 0
	for range 300_000 {
		w := []byte{byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(4))}
		for rng.IntN(3) == 0 && len(w) < cacheLongest {
			w = append(w, w[len(w)/2:]...)
		}
		w = w[:min(len(w), cacheLongest)]
		want := ids(w)
		got, slot, ok := c.find([]int32{-7}, string(w))
		if ok {
			hits++
		} else {
			misses++
			c.put(slot, string(w), want)
			if got, _, ok = c.find([]int32{-7}, string(w)); !ok {
				t.Fatalf("%q is missing after put", w)
			}
		}
		if !slices.Equal(got[1:], want) {
			t.Fatalf("find(%q) = %v, want %v", w, got[1:], want)
		}
	}
	if hits < 1000 || misses < 4*cacheSlots {
		t.Errorf("%d hits and %d misses: too few to have overflowed", hits, misses)
	}
}

// Words whose hashes are equal must not be taken for each other.
func TestCacheCompares(t *testing.T) {
	c := newWordCache()
	_, slot, _ := c.find(nil, "ab")
	c.put(slot, "ab", []int32{7})
	stored := c.slots[slot]
	for _, w := range []string{"cd", "abc", "a"} {
		h := maphash.String(c.seed, w)
		forged := stored
		forged.hash = uint32(h)
		clear(c.slots)
		c.slots[uint32(h>>32)&(cacheSlots-1)] = forged
		if got, _, ok := c.find(nil, w); ok {
			t.Errorf("%q is taken for \"ab\" and gives %v", w, got)
		}
	}
}
