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
	b.WriteString("| machine | instructions | threads | | trit | bitnet.cpp | ik_llama.cpp | trit over the better |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range files {
		if err := rateRows(&b, f); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	holdTable(t, "rates", b.String(), "performance.md", "../README.md")
}

// TestSweepIsMeasured does so for the table of training steps by width and window.
func TestSweepIsMeasured(t *testing.T) {
	data, err := os.ReadFile("bench/train-sweep-zen4-2t.json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Runs []struct {
			Results []struct {
				Width, Rows, Window int
				StepMS              float64 `json:"step_ms"`
				Rate                float64 `json:"median_tokens_per_second"`
				Planned             float64 `json:"planned_bytes"`
				Resident            float64 `json:"peak_resident_bytes"`
			}
		}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| width | window × rows | ms a step | tokens/s | planned MB | peak resident MB |\n|---|---|---|---|---|---|\n")
	for _, run := range r.Runs {
		for _, x := range run.Results {
			fmt.Fprintf(&b, "| %d | %d × %d | %.0f | %.0f | %.0f | %.0f |\n", x.Width, x.Window, x.Rows, x.StepMS, x.Rate, x.Planned/1e6, x.Resident/1e6)
		}
	}
	holdTable(t, "sweep", b.String(), "performance.md")
}

// holdTable compares a table with what stands between the marks of that name.
func holdTable(t *testing.T, name, table string, files ...string) {
	t.Helper()
	mark, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(text), mark)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Errorf("%s has no place for %s", f, name)
			continue
		}
		if old == table {
			continue
		}
		if !*update {
			t.Errorf("%s: other %s than the reports have; go test ./docs -update writes them", f, name)
			continue
		}
		if err := os.WriteFile(f, []byte(before+mark+table+end+after), 0o644); err != nil {
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
	machine := map[string]string{"zen4": "Zen 4", "xeon": "Xeon"}[strings.Split(filepath.Base(file), "-")[1]]
	if machine == "" {
		return fmt.Errorf("its name says no machine")
	}
	for _, run := range r.Runs {
		for _, res := range run.Results {
			best, cells := 0.0, map[string]string{"bit": "–", "ik": "–"}
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
			fmt.Fprintf(b, "| %s | %s | %d | %s | %.1f | %s | %s | %.2f × |\n", machine, strings.ToUpper(r.Device), run.Threads, testInWords(res.Test, r.Whole), res.Rate, cells["bit"], cells["ik"], res.Rate/best)
		}
	}
	return nil
}

// testInWords names a test of trit bench.
func testInWords(test string, whole bool) string {
	if n, ok := strings.CutPrefix(test, "pp"); ok {
		return "prompt of " + n
	}
	if _, depth, ok := strings.Cut(test, " @ d"); ok {
		return "decode at depth " + depth
	}
	if whole {
		return "decode, whole head (bf16; f16)"
	}
	return "decode (screened head; Q6_K)"
}
