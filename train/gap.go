package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/trit-ml/trit/train/data"
)

// Gap is what a comparison found, gap.json of its folder. All figures are of
// the held-out text, in training form.
type Gap struct {
	Device          string `json:"device"`
	Parameters      int    `json:"parameters"` // of one model
	Tokens          int    `json:"tokens"`     // trained on, of one run
	ValidateWindows int    `json:"validate_windows"`

	Loss        Compared `json:"loss"`          // nats per token after the last step
	BitsPerByte Compared `json:"bits_per_byte"` // likewise
	Best        Compared `json:"best_loss"`     // nats per token at each run's best validation

	Runs []TwinRun `json:"runs"`
}

// Compared is a figure of both models and its difference seed by seed, ternary
// minus plain.
type Compared struct {
	Ternary Spread `json:"ternary"`
	Plain   Spread `json:"plain"`
	Gap     Spread `json:"gap"`
}

// Spread is how a figure varies over seeds.
type Spread struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"` // standard deviation of the sample; 0 for one seed
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// TwinRun is one run of a comparison.
type TwinRun struct {
	Name     string    `json:"name"` // of its folder
	Seed     uint64    `json:"seed"`
	Plain    bool      `json:"plain"`
	Schedule string    `json:"schedule"`
	Peak     float64   `json:"peak"` // learning rate
	Steps    int       `json:"steps"`
	Last     Validated `json:"last"`
	Best     Validated `json:"best"`

	data string        // what it read
	at   data.Position // up to here
}

func spread(v []float64) Spread {
	s := Spread{N: len(v), Min: slices.Min(v), Max: slices.Max(v)}
	for _, x := range v {
		s.Mean += x / float64(len(v))
	}
	if len(v) > 1 {
		for _, x := range v {
			s.SD += (x - s.Mean) * (x - s.Mean)
		}
		s.SD = math.Sqrt(s.SD / float64(len(v)-1))
	}
	return s
}

// String is a table.
func (g *Gap) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d parameters, %d tokens, on %s\n\n", g.Parameters, g.Tokens, g.Device)
	row := func(cells ...any) { fmt.Fprintf(&b, "%-6s  %-22s  %-8s  %-8s  %-8s  %s\n", cells...) }
	row("seed", "trained", "loss", "bits/B", "best", "of step")
	for _, r := range g.Runs {
		kind := "ternary"
		if r.Plain {
			kind = "plain"
		}
		row(fmt.Sprint(r.Seed), fmt.Sprintf("%s, %s %g", kind, r.Schedule, r.Peak), fmt.Sprintf("%.4f", r.Last.Loss),
			fmt.Sprintf("%.4f", r.Last.BitsPerByte), fmt.Sprintf("%.4f", r.Best.Loss), fmt.Sprint(r.Best.Step))
	}
	fmt.Fprintf(&b, "\n%-22s  %-17s  %-17s  %s\n", "mean ± sd over seeds", "ternary", "plain", "gap")
	for _, f := range []struct {
		name string
		c    Compared
	}{{"loss, nats/token", g.Loss}, {"bits/byte", g.BitsPerByte}, {"best loss, nats/token", g.Best}} {
		fmt.Fprintf(&b, "%-22s  %-17s  %-17s  %s\n", f.name, f.c.Ternary, f.c.Plain, f.c.Gap)
	}
	return b.String()
}

// String is mean and standard deviation, which one seed has not.
func (s Spread) String() string {
	if s.N < 2 {
		return fmt.Sprintf("%.4f", s.Mean)
	}
	return fmt.Sprintf("%.4f ± %.4f", s.Mean, s.SD)
}
