package runtime

// Lengths of the runs of tokens that a lookup finds again.
const (
	longRun  = 4
	shortRun = 2
	mostRun  = 32 // matches are not measured further
)

// lookup guesses how a text goes on from what stands in it already: the tokens
// that followed the last time its end occurred (prompt lookup decoding, Saxena
// 2023, here with a table in place of a search). It also measures, with every
// token drawn, how often its guess was right, whether or not the guess was used.
// It allocates nothing after newLookup.
type lookup struct {
	text        []int32 // all tokens fed
	long, short []int32 // by hash of a run: where the text went on after it; 0 nowhere
	at          int     // the guess for the next token is text[at]; 0: there is none
	match       int     // how many tokens before at equal the text's last ones, up to mostRun
	right       [runBuckets]float64
}

func newLookup(context int) *lookup {
	size := 256
	for size < 2*context {
		size *= 2
	}
	l := &lookup{text: make([]int32, 0, context), long: make([]int32, size), short: make([]int32, size)}
	l.reset()
	return l
}

// runBuckets is the number of classes of match lengths that are measured apart:
// the longer a match, the likelier it goes on.
const runBuckets = 7

// priors are what the measurement starts with. They are low, so that a text
// without repetition costs little to find out.
var priors = [runBuckets]float64{0.15, 0.25, 0.4, 0.5, 0.65, 0.8, 0.9}

// learning is the weight of one more observation.
const learning = 1.0 / 8

func bucket(match int) int {
	switch {
	case match <= 4:
		return max(match-2, 0)
	case match <= 6:
		return 3
	case match <= 10:
		return 4
	case match <= 18:
		return 5
	}
	return 6
}

func (l *lookup) reset() {
	l.text, l.at, l.match, l.right = l.text[:0], 0, 0, priors
	clear(l.long)
	clear(l.short)
}

// copyFrom takes over the first n tokens of another sequence's lookup.
func (l *lookup) copyFrom(m *lookup, n int) {
	l.text = append(l.text[:0], m.text[:n]...)
	copy(l.long, m.long)
	copy(l.short, m.short)
	l.at, l.match, l.right = 0, 0, m.right
}

// truncate goes back to the first n tokens. Entries of the tables that point
// beyond are found out when they are used.
func (l *lookup) truncate(n int) { l.text, l.at, l.match = l.text[:n], 0, 0 }

// add appends a token. drawn says that the model drew it, so that the guess is
// measured.
func (l *lookup) add(t int32, drawn bool) {
	hit := l.at > 0 && l.text[l.at] == t
	if drawn && l.at > 0 {
		p, was := &l.right[bucket(l.match)], 0.0
		if hit {
			was = 1
		}
		*p += (was - *p) * learning
	}
	l.text = append(l.text, t)
	n := len(l.text)
	if hit {
		l.at, l.match = l.at+1, min(l.match+1, mostRun)
	} else {
		l.at, l.match = 0, 0
		l.find()
	}
	for _, r := range [...]struct {
		table []int32
		run   int
	}{{l.long, longRun}, {l.short, shortRun}} {
		if n >= r.run {
			r.table[l.slot(r.run, len(r.table))] = int32(n)
		}
	}
}

// find looks for an earlier occurrence of the text's end.
func (l *lookup) find() {
	n := len(l.text)
	for _, r := range [...]struct {
		table []int32
		run   int
	}{{l.long, longRun}, {l.short, shortRun}} {
		if n < r.run {
			continue
		}
		at := int(r.table[l.slot(r.run, len(r.table))])
		if at == 0 || at >= n {
			continue
		}
		match := 0
		for match < min(at, mostRun) && l.text[at-1-match] == l.text[n-1-match] {
			match++
		}
		if match >= r.run {
			l.at, l.match = at, match
			return
		}
	}
}

// slot hashes the last run tokens for a table of the given size, a power of two.
func (l *lookup) slot(run, size int) int {
	h := uint64(run)
	for _, t := range l.text[len(l.text)-run:] {
		h = (h ^ uint64(uint32(t))) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return int(h & uint64(size-1))
}

// guess writes the next tokens, as far as they are known, and with each the
// chance that it and all before it are right. A text that repeats its own end
// goes on periodically.
func (l *lookup) guess(ids []int32, chance []float64) int {
	if l.at == 0 {
		return 0
	}
	p := 1.0
	for i := range ids {
		if at := l.at + i; at < len(l.text) {
			ids[i] = l.text[at]
		} else {
			ids[i] = ids[at-len(l.text)]
		}
		p *= l.right[bucket(l.match+i)]
		chance[i] = p
	}
	return len(ids)
}
