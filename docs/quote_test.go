package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTutorialsQuoteTestedCode checks that every ```go block of the README and
// of the tutorials stands, word for word, in a Go file of this folder.
func TestTutorialsQuoteTestedCode(t *testing.T) {
	var code strings.Builder
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(data)
	}
	texts, _ := filepath.Glob("*.md")
	blocks := 0
	for _, f := range append(texts, "../README.md") {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split(string(data), "```go\n")[1:] {
			block, _, ok := strings.Cut(part, "```")
			if !ok {
				t.Errorf("%s: block %d does not end", f, i)
				continue
			}
			blocks++
			if !strings.Contains(code.String(), strings.TrimRight(block, "\n")) {
				t.Errorf("%s: block %d is not in any tested file:\n%s", f, i, block)
			}
		}
	}
	if blocks == 0 {
		t.Error("no block was checked")
	}
}
