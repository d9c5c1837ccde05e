package tokenizer

import "hash/maphash"

// wordCache remembers the ids of recent words. It is bounded: when the table or
// an arena is full, all is forgotten, which costs about 20 µs and keeps the
// cache to the words of the text at hand.
type wordCache struct {
	seed  maphash.Seed
	slots []cacheSlot
	used  int
	keys  []byte
	ids   []int32
}

// cacheSlot holds one word; n == 0 marks an empty slot. A word of one token, the
// most frequent case, keeps it in at instead of pointing into ids.
type cacheSlot struct {
	hash uint32
	key  uint32 // where the word starts in keys
	n    uint16 // length of the word
	many uint16 // number of ids
	at   int32  // the id, or where the ids start
}

const (
	cacheSlots   = 1 << 15
	cacheKeys    = 512 << 10
	cacheIDs     = 96 << 10
	cacheLongest = 128 // bytes; longer words rarely come twice
)

func newWordCache() *wordCache {
	return &wordCache{
		seed:  maphash.MakeSeed(),
		slots: make([]cacheSlot, cacheSlots),
		keys:  make([]byte, 0, cacheKeys),
		ids:   make([]int32, 0, cacheIDs),
	}
}

// find appends the ids of w if it is known; the slot is where put may store it.
func (c *wordCache) find(dst []int32, w string) (_ []int32, slot uint32, ok bool) {
	h64 := maphash.String(c.seed, w)
	h := uint32(h64)
	i := uint32(h64>>32) & (cacheSlots - 1)
	for {
		s := &c.slots[i]
		if s.n == 0 {
			return dst, i, false
		}
		if s.hash == h && int(s.n) == len(w) && string(c.keys[s.key:s.key+uint32(s.n)]) == w {
			if s.many == 1 {
				return append(dst, s.at), i, true
			}
			return append(dst, c.ids[s.at:s.at+int32(s.many)]...), i, true
		}
		i = (i + 1) & (cacheSlots - 1)
	}
}

// put stores the ids of w, which find has just missed at slot.
func (c *wordCache) put(slot uint32, w string, ids []int32) {
	if c.used >= cacheSlots*3/4 || len(c.keys)+len(w) > cacheKeys || len(c.ids)+len(ids) > cacheIDs {
		clear(c.slots)
		c.used, c.keys, c.ids = 0, c.keys[:0], c.ids[:0]
		_, slot, _ = c.find(nil, w)
	}
	s := &c.slots[slot]
	*s = cacheSlot{
		hash: uint32(maphash.String(c.seed, w)),
		key:  uint32(len(c.keys)),
		n:    uint16(len(w)),
		many: uint16(len(ids)),
	}
	c.keys = append(c.keys, w...)
	if len(ids) == 1 {
		s.at = ids[0]
	} else {
		s.at = int32(len(c.ids))
		c.ids = append(c.ids, ids...)
	}
	c.used++
}
