package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/trit-ml/trit/train"
)

// TestGapsAreTheReports holds the tables of expect.md to what trit train --twin
// wrote, which stands beside the recipes.
func TestGapsAreTheReports(t *testing.T) {
	page, err := os.ReadFile("expect.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, figure := range map[string]func(g *train.Gap) train.Compared{
		"recipes/shakespeare-char-cpu.json": func(g *train.Gap) train.Compared { return g.Loss },
		"recipes/shakespeare-char.json":     func(g *train.Gap) train.Compared { return g.Best },
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var g train.Gap
		if err := json.Unmarshal(text, &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		c := figure(&g)
		for row, s := range map[string]train.Spread{"unquantized twin": c.Plain, "ternary": c.Ternary, "gap, seed by seed": c.Gap} {
			want := strings.ReplaceAll(fmt.Sprintf("| %s | %.3f ± %.3f", row, s.Mean, s.SD), "-", "−")
			if s.N != 3 || !strings.Contains(string(page), want) {
				t.Errorf("%s: %d seeds, and expect.md has no %q", file, s.N, want)
			}
		}
	}
}
