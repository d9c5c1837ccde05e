package tokenizer

import "strings"

// learner finds the merges of a BPE: again and again the most frequent pair of
// neighbours, of equals the one with the smaller ids, becomes one token. Counts
// are kept up to date word by word, so a step costs as much as the words that
// hold the pair.
type learner struct {
	text     []string
	ids      map[string]int32
	merges   []merge
	maxBytes int

	words []learnWord
	pairs map[uint64]int32 // pairKey to place in stats
	stats []pairStat
	heap  []ranked
	grown []int32 // pairs whose count rose in this step
}

type learnWord struct {
	syms  []int32
	count int64
}

type pairStat struct {
	left, right int32
	count       int64
	words       []int32 // words that have or had the pair
	touched     bool    // in grown
	merged      bool    // in merges
}

// ranked is a heap entry. Its count may be out of date, but is never too low.
type ranked struct {
	count int64
	key   uint64 // pairKey
	pair  int32
}

func (a ranked) before(b ranked) bool {
	return a.count > b.count || a.count == b.count && a.key < b.key
}

func newLearner(words []trainWord, maxBytes int) *learner {
	l := &learner{text: byteTokens(), ids: map[string]int32{}, maxBytes: maxBytes, pairs: map[uint64]int32{}}
	for i, s := range l.text {
		l.ids[s] = int32(i)
	}
	total := 0
	for _, w := range words {
		total += len(w.text)
	}
	arena := make([]int32, 0, total)
	l.words = make([]learnWord, len(words))
	for i, w := range words {
		start := len(arena)
		for k := range len(w.text) {
			arena = append(arena, int32(w.text[k]))
		}
		l.words[i] = learnWord{arena[start:], w.count}
		syms := l.words[i].syms
		for k := range len(syms) - 1 {
			l.change(syms[k], syms[k+1], int32(i), w.count)
		}
	}
	l.pushGrown()
	return l
}

// change adds by to the count of a pair in a word.
func (l *learner) change(left, right, word int32, by int64) {
	key := pairKey(left, right)
	at, ok := l.pairs[key]
	if !ok {
		at = int32(len(l.stats))
		l.pairs[key] = at
		l.stats = append(l.stats, pairStat{left: left, right: right})
	}
	s := &l.stats[at]
	s.count += by
	if by < 0 {
		return
	}
	if n := len(s.words); n == 0 || s.words[n-1] != word {
		s.words = append(s.words, word)
	}
	if !s.touched {
		s.touched = true
		l.grown = append(l.grown, at)
	}
}

// pushGrown queues the pairs that have become more frequent.
func (l *learner) pushGrown() {
	for _, at := range l.grown {
		s := &l.stats[at]
		s.touched = false
		if s.count > 0 {
			l.push(ranked{s.count, pairKey(s.left, s.right), at})
		}
	}
	l.grown = l.grown[:0]
}

// step merges the most frequent pair that occurs at least least times; false
// means that there is none.
func (l *learner) step(least int64) bool {
	for len(l.heap) > 0 {
		top := l.heap[0]
		l.pop()
		s := &l.stats[top.pair]
		if s.count < least || len(l.text[s.left])+len(l.text[s.right]) > l.maxBytes {
			continue // counts only fall unless pushed again
		}
		if s.count != top.count {
			if s.count < top.count {
				l.push(ranked{s.count, top.key, top.pair})
			}
			continue // or a later entry has the higher count
		}
		l.merge(top.pair)
		return true
	}
	return false
}

func (l *learner) merge(pair int32) {
	s := &l.stats[pair]
	left, right := s.left, s.right
	text := l.text[left] + l.text[right]
	to, ok := l.ids[text] // another pair may have made the same token
	if !ok {
		to = int32(len(l.text))
		l.text = append(l.text, strings.Clone(text))
		l.ids[text] = to
	}
	// A pair that was merged before can come up again if a later merge made
	// one of its tokens in another way; the list has it already.
	if !s.merged {
		s.merged = true
		l.merges = append(l.merges, merge{left, right, to, int32(len(l.merges))})
	}
	words := s.words
	s.words = nil
	for _, w := range words {
		l.mergeIn(w, left, right, to)
	}
	l.pushGrown()
}

// mergeIn replaces the pair in one word and corrects the counts around it.
func (l *learner) mergeIn(w, left, right, to int32) {
	word := &l.words[w]
	syms, n := word.syms, word.count
	out := 0
	for i := 0; i < len(syms); i++ {
		if i+1 == len(syms) || syms[i] != left || syms[i+1] != right {
			syms[out] = syms[i]
			out++
			continue
		}
		l.change(left, right, w, -n)
		if out > 0 {
			l.change(syms[out-1], left, w, -n)
			l.change(syms[out-1], to, w, n)
		}
		if i+2 < len(syms) {
			l.change(right, syms[i+2], w, -n)
			l.change(to, syms[i+2], w, n)
		}
		syms[out] = to
		out++
		i++
	}
	word.syms = syms[:out]
}

func (l *learner) push(r ranked) {
	l.heap = append(l.heap, r)
	at := len(l.heap) - 1
	for at > 0 {
		up := (at - 1) / 2
		if !r.before(l.heap[up]) {
			break
		}
		l.heap[at] = l.heap[up]
		at = up
	}
	l.heap[at] = r
}

func (l *learner) pop() {
	last := len(l.heap) - 1
	r := l.heap[last]
	l.heap = l.heap[:last]
	if last == 0 {
		return
	}
	at := 0
	for {
		down := 2*at + 1
		if down >= last {
			break
		}
		if down+1 < last && l.heap[down+1].before(l.heap[down]) {
			down++
		}
		if !l.heap[down].before(r) {
			break
		}
		l.heap[at] = l.heap[down]
		at = down
	}
	l.heap[at] = r
}
