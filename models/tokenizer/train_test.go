package tokenizer

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// naiveTrain learns merges by counting everything anew at each step.
func naiveTrain(split Split, text string, tokens, least, maxBytes int) (vocab []string, merges [][2]string) {
	var words [][]string
	counts := map[string]int{}
	for _, w := range split.Words(text) {
		if counts[w]++; counts[w] == 1 {
			words = append(words, strings.Split(string(toLatin(w)), ""))
		}
	}
	id := map[string]int{}
	add := func(s string) {
		if _, ok := id[s]; !ok {
			id[s] = len(vocab)
			vocab = append(vocab, s)
		}
	}
	for b := range 256 {
		add(string(rune(b)))
	}
	done := map[[2]string]bool{}
	for len(vocab) < tokens {
		pairs := map[[2]string]int{}
		for _, w := range words {
			n := counts[fromLatin(strings.Join(w, ""))]
			for i := range len(w) - 1 {
				pairs[[2]string{w[i], w[i+1]}] += n
			}
		}
		var best [2]string
		most := 0
		for p, n := range pairs {
			if n < least || len([]rune(p[0]+p[1])) > maxBytes {
				continue
			}
			smaller := id[p[0]] < id[best[0]] || id[p[0]] == id[best[0]] && id[p[1]] < id[best[1]]
			if n > most || n == most && smaller {
				best, most = p, n
			}
		}
		if most == 0 {
			break
		}
		add(best[0] + best[1])
		if !done[best] {
			merges = append(merges, best)
			done[best] = true
		}
		for k, w := range words {
			var out []string
			for i := 0; i < len(w); i++ {
				if i+1 < len(w) && w[i] == best[0] && w[i+1] == best[1] {
					out = append(out, w[i]+w[i+1])
					i++
				} else {
					out = append(out, w[i])
				}
			}
			words[k] = out
		}
	}
	return vocab, merges
}

// toLatin makes each byte a rune, so that the oracle can work on strings.
func toLatin(s string) []rune {
	var out []rune
	for i := range len(s) {
		out = append(out, rune(s[i]))
	}
	return out
}

func fromLatin(s string) string {
	var out []byte
	for _, r := range s {
		out = append(out, byte(r))
	}
	return string(out)
}

func TestTrainEqualsNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range 60 {
		split := []Split{SplitGPT2, SplitLlama3}[i%2]
		var text strings.Builder
		for range 20 + rng.IntN(60) {
			if i%3 == 0 {
				// Few letters: overlapping and repeated pairs.
				for range rng.IntN(12) {
					text.WriteByte("aab"[rng.IntN(3)])
				}
				text.WriteByte(' ')
			} else {
				text.WriteString(randomText(rng))
			}
		}
		opt := TrainOptions{VocabSize: 260 + rng.IntN(80), Split: split, MinCount: 1 + i%3, Specials: []string{"<|end_of_text|>"}, MaxTokenBytes: 4 + rng.IntN(20)}
		trainer, err := NewTrainer(opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := trainer.Feed(strings.NewReader(text.String())); err != nil {
			t.Fatal(err)
		}
		tok, err := trainer.Train()
		if err != nil {
			t.Fatal(err)
		}
		vocab, merges := naiveTrain(split, text.String(), opt.VocabSize-1, opt.MinCount, opt.MaxTokenBytes)
		var gotVocab []string
		for _, s := range tok.text[:len(tok.text)-1] {
			gotVocab = append(gotVocab, string(toLatin(s)))
		}
		var gotMerges [][2]string
		for _, m := range tok.merges {
			gotMerges = append(gotMerges, [2]string{string(toLatin(tok.text[m.left])), string(toLatin(tok.text[m.right]))})
		}
		if d := cmp.Diff(vocab, gotVocab); d != "" {
			t.Fatalf("text %d: tokens (-naive +got): %s", i, d)
		}
		if d := cmp.Diff(merges, gotMerges); d != "" {
			t.Fatalf("text %d: merges (-naive +got): %s", i, d)
		}
	}
}

// However the text arrives in reads, the words are those of the whole text.
func TestFeedCutsNoWord(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range 2000 {
		split := []Split{SplitGPT2, SplitLlama3}[i%2]
		var text strings.Builder
		for range rng.IntN(30) {
			text.WriteString(randomText(rng))
			text.WriteString([]string{"", " word", "x\ny", "! a", "é\n\u2003\u3000z", "\n\t  a", "x\n\n é"}[rng.IntN(7)])
		}
		want := map[string]int64{}
		for _, w := range split.Words(text.String()) {
			if len(w) > 1 {
				want[w]++
			}
		}
		trainer, err := NewTrainer(TrainOptions{VocabSize: 300, Split: split})
		if err != nil {
			t.Fatal(err)
		}
		trainer.chunk = 1 + rng.IntN(200)
		if err := trainer.Feed(iotest.HalfReader(strings.NewReader(text.String()))); err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, w := range trainer.words {
			got[w.text] = w.count
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%v, chunk %d, %q: %s", split, trainer.chunk, text.String(), d)
		}
	}
}

func TestTrainOnGoSource(t *testing.T) {
	text := goSource(t, "src/strings", ".go", 1<<19)
	train := func() *Tokenizer {
		trainer, err := NewTrainer(TrainOptions{VocabSize: 1024, Split: SplitLlama3, AddBOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := trainer.Feed(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		tok, err := trainer.Train()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	tok := train()
	if tok.VocabSize() != 1024 {
		t.Errorf("vocabulary of %d, want 1024", tok.VocabSize())
	}
	if tok.BOS() != 1022 || tok.EOS() != 1023 || tok.Defaults() != BOS {
		t.Errorf("bos %d, eos %d, defaults %d", tok.BOS(), tok.EOS(), tok.Defaults())
	}
	ids := tok.Encode(nil, text)
	if perToken := float64(len(text)) / float64(len(ids)); perToken < 2 {
		t.Errorf("%.2f bytes per token; want at least 2 on its own text", perToken)
	}
	if tok.Decode(ids) != text {
		t.Error("the text does not round-trip")
	}
	var a, b bytes.Buffer
	if err := tok.WriteJSON(&a); err != nil {
		t.Fatal(err)
	}
	if err := train().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("training twice gives different files")
	}
	back, err := ParseJSON("trained", a.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ids, back.Encode(nil, text)); d != "" {
		t.Errorf("the saved tokenizer encodes differently: %s", d)
	}
	if back.Defaults() != BOS || back.BOS() != 1022 || back.EOS() != 1023 {
		t.Errorf("saved: bos %d, eos %d, defaults %d", back.BOS(), back.EOS(), back.Defaults())
	}
}

func TestTrainRefuses(t *testing.T) {
	for _, opt := range []TrainOptions{
		{VocabSize: 257, Split: SplitGPT2},
		{VocabSize: 2 << 20, Split: SplitGPT2},
		{VocabSize: 512},
		{VocabSize: 512, Split: SplitGPT2, MinCount: -1},
		{VocabSize: 512, Split: SplitGPT2, MaxTokenBytes: 1 << 20},
	} {
		if _, err := NewTrainer(opt); err == nil {
			t.Errorf("%+v is accepted", opt)
		}
	}
	trainer, err := NewTrainer(TrainOptions{VocabSize: 300, Split: SplitGPT2})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken disk")
	if err := trainer.Feed(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("Feed returns %v, want the reader's error", err)
	}
}

func BenchmarkTrain(b *testing.B) {
	text := goSource(b, "src", ".go", 40<<20)
	for _, size := range []int{512, 8192, 32768} {
		b.Run(map[int]string{512: "512", 8192: "8k", 32768: "32k"}[size], func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				trainer, err := NewTrainer(TrainOptions{VocabSize: size, Split: SplitLlama3})
				if err != nil {
					b.Fatal(err)
				}
				if err := trainer.Feed(strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
				if _, err := trainer.Train(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
