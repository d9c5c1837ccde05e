package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/engine"
)

// otherEngine is what another engine's benchmark printed, by test.
type otherEngine struct {
	Command string               `json:"command"`
	Rates   map[string][]float64 `json:"rates"` // tokens a second
}

// name is short: the program.
func (o *otherEngine) name() string {
	if f := strings.Fields(o.Command); len(f) > 0 {
		return filepath.Base(f[0])
	}
	return "other"
}

func (o *otherEngine) median(test string) float64 { return engine.Median(o.Rates[test]) }

// again runs the command once more, without a shell.
func (o *otherEngine) again(e *env) error {
	args := strings.Fields(o.Command)
	if len(args) == 0 {
		return fmt.Errorf("--compare: no command")
	}
	cmd := exec.CommandContext(e.ctx, args[0], args[1:]...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return fmt.Errorf("--compare %q: %w: %s", o.Command, err, lines[len(lines)-1])
	}
	rates, err := parseRates(out)
	if err != nil {
		return fmt.Errorf("--compare %q: %w", o.Command, err)
	}
	if o.Rates == nil {
		o.Rates = map[string][]float64{}
	}
	for test, v := range rates {
		o.Rates[test] = append(o.Rates[test], v)
	}
	return nil
}

// parseRates reads what llama-bench prints: a table in Markdown with the columns
// "test" and "t/s", or with -o json a list of objects.
func parseRates(out []byte) (map[string]float64, error) {
	if b := bytes.TrimSpace(out); len(b) > 0 && b[0] == '[' {
		return parseRatesJSON(b)
	}
	rates := map[string]float64{}
	test, rate := -1, -1
	for _, line := range strings.Split(string(out), "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "|") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			switch cells[i] {
			case "test":
				test = i
			case "t/s":
				rate = i
			}
		}
		if test < 0 || rate < 0 || test >= len(cells) || rate >= len(cells) {
			continue
		}
		number, _, _ := strings.Cut(cells[rate], " ")
		if v, err := strconv.ParseFloat(number, 64); err == nil && v > 0 {
			rates[testName(cells[test])] = v
		}
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("its output has no table with the columns test and t/s")
	}
	return rates, nil
}

// testName gives decoding after a prompt, "tg32@pp1024" in ik_llama.cpp's table,
// the name that others and trit use.
func testName(s string) string {
	var n, depth int
	if _, err := fmt.Sscanf(s, "tg%d@pp%d", &n, &depth); err == nil {
		return engine.Decode(n, depth, 1).Name
	}
	return s
}

func parseRatesJSON(b []byte) (map[string]float64, error) {
	var list []struct {
		Prompt int     `json:"n_prompt"`
		Gen    int     `json:"n_gen"`
		Depth  int     `json:"n_depth"`
		Rate   float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	rates := map[string]float64{}
	for _, x := range list {
		name := fmt.Sprintf("pp%d", x.Prompt)
		if x.Gen > 0 {
			name = engine.Decode(x.Gen, x.Depth, 1).Name
		}
		if x.Rate > 0 && (x.Gen == 0) != (x.Prompt == 0) {
			rates[name] = x.Rate
		}
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("its output has no test of prompts or generation alone")
	}
	return rates, nil
}
