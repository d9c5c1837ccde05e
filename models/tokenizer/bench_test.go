package tokenizer

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/trit-ml/trit/internal/golden"
)

// goSource returns the texts of the Go standard library's files under GOROOT/src
// whose names end in suffix, up to limit bytes.
func goSource(b testing.TB, dir, suffix string, limit int) string {
	b.Helper()
	var text strings.Builder
	root := filepath.Join(runtime.GOROOT(), filepath.FromSlash(dir))
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		if text.Len() >= limit {
			return filepath.SkipAll
		}
		data, err := os.ReadFile(path)
		text.Write(data)
		return err
	})
	if err != nil || text.Len() == 0 {
		b.Skipf("no Go source under %s: %v", root, err)
	}
	return text.String()[:min(limit, text.Len())]
}

// englishText is prose: the comments of the standard library.
func englishText(b testing.TB) string {
	var prose strings.Builder
	for line := range strings.Lines(goSource(b, "src", ".go", 60<<20)) {
		if text, ok := strings.CutPrefix(line, "// "); ok && len(text) > 40 {
			prose.WriteString(text)
		}
	}
	return prose.String()
}

// mixedText interleaves code, many scripts (the golden texts) and JSON.
func mixedText(b testing.TB) string {
	code := goSource(b, "src/encoding", ".go", 1<<20)
	scripts := goSource(b, "src/unicode", "tables.go", 1<<16)
	v := readVectors(b)
	var mixed strings.Builder
	for i := 0; len(code) > 0; i++ {
		n := min(len(code), 700)
		mixed.WriteString(code[:n])
		code = code[n:]
		for range 6 {
			mixed.WriteString(v.Cases[(i*7)%len(v.Cases)].Text)
			mixed.WriteString(v.Cases[(i*13+5)%46].Text)
			i++
		}
		mixed.WriteString(worldTexts[i%len(worldTexts)])
		mixed.WriteString(scripts[(i*311)%60000:][:300])
	}
	return mixed.String()
}

// worldTexts is Article 1 of the Universal Declaration of Human Rights.
var worldTexts = []string{
	"Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.\n",
	"人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。\n",
	"すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。\n",
	"모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.\n",
	"يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.\n",
	"सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।\n",
	"Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.\n",
	"Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.\n",
	"Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης.\n",
	"כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחוה.\n",
	"มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ\n",
}

func BenchmarkEncode(b *testing.B) {
	for _, text := range []struct {
		name string
		make func(testing.TB) string
	}{
		{"english", englishText},
		{"mixed", mixedText},
		{"code", func(b testing.TB) string { return goSource(b, "src/go", ".go", 4<<20) }},
		{"hostile/a", func(testing.TB) string { return strings.Repeat("a", 1<<20) }},
		{"hostile/blanks", func(testing.TB) string { return strings.Repeat(" ", 1<<20) + "x" }},
		{"hostile/digits", func(testing.TB) string { return strings.Repeat("1", 1<<20) }},
		{"hostile/emoji", func(testing.TB) string { return strings.Repeat("🦙", 1<<18) }},
	} {
		b.Run(text.name, func(b *testing.B) {
			tok := llama3(b)
			s := text.make(b)
			ids := tok.Encode(nil, s)
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			b.ReportMetric(float64(len(s))/float64(len(ids)), "B/token")
			for b.Loop() {
				ids = tok.Encode(ids[:0], s)
			}
		})
	}
	// Every word is new: what encoding costs when the cache never helps.
	b.Run("cold", func(b *testing.B) {
		tok := llama3(b)
		s := mixedText(b)
		ids := tok.Encode(nil, s)
		e := &encoder{cache: newWordCache()}
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			ids = ids[:0]
			for i := 0; i < len(s); {
				j := tok.split.next(tok.classes, s, i)
				if id, ok := tok.ids[s[i:j]]; ok {
					ids = append(ids, id)
				} else {
					ids = tok.mergeWord(e, ids, s[i:j])
				}
				i = j
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	s := englishText(b)
	table := unicodeClasses()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		for i := 0; i < len(s); {
			i = SplitLlama3.next(table, s, i)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	tok := llama3(b)
	dir := b.TempDir()
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		b.Fatal(err)
	}
	v, err := tok.Vocab()
	if err != nil {
		b.Fatal(err)
	}
	load := func(path string) func() error {
		return func() error { _, err := Load(path); return err }
	}
	for _, form := range []struct {
		name string
		load func() error
	}{
		{"tiktoken", load(golden.Path(b, "tokenizer", "llama3-tokenizer.model"))},
		{"json", load(filepath.Join(dir, "tokenizer.json"))},
		{"arrays", func() error { _, err := New("arrays", v); return err }},
	} {
		b.Run(form.name, func(b *testing.B) {
			for b.Loop() {
				if err := form.load(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
