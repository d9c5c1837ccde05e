package docs

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/train/runfile"
)

var update = flag.Bool("update", false, "write the table of settings in training.md again")

// TestSettings holds the tables of training.md to the settings that there are,
// with their flags, defaults and sources.
func TestSettings(t *testing.T) {
	const file, begin, end = "training.md", "<!-- settings -->\n", "<!-- /settings -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the settings", file)
	}
	cfg := runfile.Default()
	want := "\n" + runfile.Markdown(&cfg) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the settings of %s are not the program's; go test ./docs -update writes them again:\n%s", file, d)
	}
}

// TestConfigurations reads every YAML block of the documentation and every recipe
// as a configuration.
func TestConfigurations(t *testing.T) {
	blocks := 0
	read := func(name, text string) {
		blocks++
		cfg := runfile.Default()
		if err := runfile.Read(name, []byte(text), &cfg); err != nil {
			t.Error(err)
		}
	}
	texts, _ := filepath.Glob("*.md")
	for _, f := range append(texts, "../README.md") {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "```yaml\n")[1:] {
			block, _, _ := strings.Cut(part, "```")
			read(f, block)
		}
	}
	recipes, _ := filepath.Glob("recipes/*.yaml")
	for _, f := range recipes {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		read(f, string(data))
	}
	if blocks < 2 {
		t.Errorf("%d configurations were read", blocks)
	}
}
