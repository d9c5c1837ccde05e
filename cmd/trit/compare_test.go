package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRates(t *testing.T) {
	for _, c := range []struct {
		name, out string
		want      map[string]float64
	}{
		{"table", "ggml: loading\n| model | size | threads | test | t/s |\n| ----- | ---: | ------: | ---: | --: |\n" +
			"| 2B | 1 GiB | 2 | pp128 | 63.81 ± 0.40 |\n| 2B | 1 GiB | 2 | tg32 @ d1024 | 15.02 ± 0.1 |\n| 2B | 1 GiB | 2 | tg32@pp3072 | 12.3 ± 0.1 |\n\nbuild: 1\n",
			map[string]float64{"pp128": 63.81, "tg32 @ d1024": 15.02, "tg32 @ d3072": 12.3}},
		{"json", `[{"n_prompt":128,"n_gen":0,"avg_ts":63.8},{"n_prompt":0,"n_gen":32,"n_depth":1024,"avg_ts":15},{"n_prompt":8,"n_gen":8,"avg_ts":3}]`,
			map[string]float64{"pp128": 63.8, "tg32 @ d1024": 15}},
		{"neither", "hello", nil},
		{"cut off", "| model | test | t/s |\n| a |", nil},
		{"no rates", `[{"n_prompt":128}]`, nil},
	} {
		got, err := parseRates([]byte(c.out))
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
