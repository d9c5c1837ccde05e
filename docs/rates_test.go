package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// TestRatesAreMeasured holds the comparisons with other engines, between the marks
// "<!-- rates -->", to the reports of trit bench in bench; -update writes them.
func TestRatesAreMeasured(t *testing.T) {
	files, err := filepath.Glob("bench/peers-*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no reports: %v", err)
	}
	sort.Strings(files)
	var b strings.Builder
	b.WriteString("| instructions | threads | | trit | bitnet.cpp | ik_llama.cpp | trit over the better |\n|---|---|---|---|---|---|---|\n")
	for _, f := range files {
		if err := rateRows(&b, f); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	const mark, end = "<!-- rates -->\n", "<!-- /rates -->"
	for _, f := range []string{"performance.md", "../README.md"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(text), mark)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Errorf("%s has no place for rates", f)
			continue
		}
		if old == b.String() {
			continue
		}
		if !*update {
			t.Errorf("%s: other rates than the reports have; go test ./docs -run Rates -update writes them", f)
			continue
		}
		if err := os.WriteFile(f, []byte(before+mark+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rateRows writes a row for each test of a report that other engines ran too.
func rateRows(b *strings.Builder, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r struct {
		Device string `json:"device"`
		Whole  bool   `json:"whole_head"`
		Runs   []struct {
			Threads int `json:"threads"`
			Results []struct {
				Test string  `json:"test"`
				Rate float64 `json:"tokens_per_second"`
			} `json:"results"`
			Others []struct {
				Command string               `json:"command"`
				Rates   map[string][]float64 `json:"rates"`
			} `json:"compared"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	for _, run := range r.Runs {
		for _, res := range run.Results {
			best, cells := 0.0, map[string]string{"bitnet": "–", "ik": "–"}
			for _, o := range run.Others {
				rates := append([]float64(nil), o.Rates[res.Test]...)
				if len(rates) == 0 {
					continue
				}
				sort.Float64s(rates)
				m := (rates[len(rates)/2] + rates[(len(rates)-1)/2]) / 2
				for name := range cells {
					if strings.Contains(strings.Fields(o.Command)[0], name) {
						cells[name], best = fmt.Sprintf("%.1f", m), max(best, m)
					}
				}
			}
			if best == 0 {
				continue
			}
			fmt.Fprintf(b, "| %s | %d | %s | %.1f | %s | %s | %.2f × |\n", strings.ToUpper(r.Device), run.Threads, testInWords(res.Test, r.Whole), res.Rate, cells["bitnet"], cells["ik"], res.Rate/best)
		}
	}
	return nil
}

// testInWords names a test of trit bench.
func testInWords(test string, whole bool) string {
	if n, ok := strings.CutPrefix(test, "pp"); ok {
		return "prompt of " + n
	}
	if whole {
		return "decode, whole head (bf16; f16)"
	}
	return "decode (screened head; Q6_K)"
}
