package tokenizer

import (
	"runtime"
	"sync"
)

// Encode appends the ids of text to dst. Without options it adds no token and
// treats everything but user-defined tokens as plain text; see [Option] and
// [Tokenizer.Defaults].
func (t *Tokenizer) Encode(dst []int32, text string, options ...Option) []int32 {
	var opt Option
	for _, o := range options {
		opt |= o
	}
	e := t.free.get()
	if opt&BOS != 0 && t.bos != None {
		dst = append(dst, t.bos)
	}
	m := t.plain
	if opt&Specials != 0 {
		m = t.special
	}
	if m == nil {
		dst = t.encodePlain(e, dst, text)
	} else {
		for from := 0; from < len(text); {
			start, end, id, ok := m.find(text, from)
			if !ok {
				dst = t.encodePlain(e, dst, text[from:])
				break
			}
			dst = append(t.encodePlain(e, dst, text[from:start]), id)
			from = end
		}
	}
	if opt&EOS != 0 && t.eos != None {
		dst = append(dst, t.eos)
	}
	t.free.put(e)
	return dst
}

// encodePlain encodes text that holds no added token.
func (t *Tokenizer) encodePlain(e *encoder, dst []int32, text string) []int32 {
	switch {
	case text == "":
		return dst
	case t.spm != nil:
		return t.spm.encode(e, dst, text)
	case t.pairs == nil: // plain bytes
		for i := range len(text) {
			dst = append(dst, t.bytes[text[i]])
		}
		return dst
	}
	for i := 0; i < len(text); {
		j := t.split.next(t.classes, text, i)
		dst = t.encodeWord(e, dst, text[i:j])
		i = j
	}
	return dst
}

// longestWord keeps positions inside a word within an int32. No split rule but
// SplitNone can reach it with text that fits into memory beside its ids.
const longestWord = 1 << 30

func (t *Tokenizer) encodeWord(e *encoder, dst []int32, w string) []int32 {
	if len(w) == 1 {
		return append(dst, t.bytes[w[0]])
	}
	if len(w) > cacheLongest {
		if t.wholeWord {
			if id, ok := t.ids[w]; ok {
				return append(dst, id)
			}
		}
		for len(w) > longestWord {
			dst, w = t.mergeWord(e, dst, w[:longestWord]), w[longestWord:]
		}
		return t.mergeWord(e, dst, w)
	}
	dst, slot, ok := e.cache.find(dst, w)
	if ok {
		return dst
	}
	n := len(dst)
	id, whole := int32(0), false
	if t.wholeWord {
		id, whole = t.ids[w]
	}
	if whole {
		dst = append(dst, id)
	} else {
		dst = t.mergeWord(e, dst, w)
	}
	e.cache.put(slot, w, dst[n:])
	return dst
}

func (t *Tokenizer) mergeWord(e *encoder, dst []int32, w string) []int32 {
	e.syms = e.syms[:0]
	for i := range len(w) {
		e.syms = append(e.syms, t.bytes[w[i]])
	}
	e.mergeAll(t.pairs)
	return append(dst, e.syms...)
}

// encoder is the working memory of one running Encode.
type encoder struct {
	cache      *wordCache
	syms       []int32
	prev, next []int32
	heap       []candidate
	text       []byte
}

// encoderPool keeps encoders, with their caches, between calls. Unlike a
// sync.Pool it does not lose warm caches at a garbage collection, and it keeps
// at most one per processor.
type encoderPool struct {
	mu   sync.Mutex
	idle []*encoder
}

func (p *encoderPool) get() *encoder {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		e := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return e
	}
	return &encoder{cache: newWordCache()}
}

func (p *encoderPool) put(e *encoder) {
	const keep = 64 << 10 // symbols; a huge word's memory is given back
	if cap(e.syms) > keep || cap(e.heap) > keep || cap(e.text) > keep {
		*e = encoder{cache: e.cache}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < runtime.GOMAXPROCS(0) {
		p.idle = append(p.idle, e)
	}
}
