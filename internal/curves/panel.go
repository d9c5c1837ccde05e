package curves

import (
	"fmt"
	"slices"
	"strings"
)

// panel is one of the pictures side by side.
type panel struct {
	name   string // as it is asked for
	title  string
	unit   string // of the vertical axis
	column string // of metrics.csv, or of weights.csv
	valid  string // column of validation results, if any
	weight bool   // column is in weights.csv
	log    bool   // a logarithmic axis serves
	share  bool   // drawn in percent
	smooth bool   // a noisy column, drawn smoothed over pale values
}

var panels = []panel{
	{name: "loss", title: "Loss", unit: "nats per token", column: "loss", valid: "valid_loss", smooth: true},
	{name: "bits", title: "Bits per byte", unit: "bits per byte of text", column: "bits_per_byte", valid: "valid_bits_per_byte", smooth: true},
	{name: "lr", title: "Learning rate", column: "lr"},
	{name: "norm", title: "Gradient norm, before clipping", column: "grad_norm", log: true, smooth: true},
	{name: "speed", title: "Speed", unit: "tokens per second", column: "tokens_per_second"},
	{name: "zero", title: "Codes that are 0", unit: "% of weights", column: "zero", weight: true, share: true},
	{name: "plus", title: "Codes that are +1", unit: "% of weights", column: "plus", weight: true, share: true},
	{name: "minus", title: "Codes that are −1", unit: "% of weights", column: "minus", weight: true, share: true},
	{name: "flips", title: "Codes flipped by a step", unit: "% of weights", column: "flip_rate", weight: true, share: true, log: true},
	{name: "scale", title: "Scale γ", column: "scale", weight: true},
	{name: "drift", title: "Drift of the scale γ since the start", unit: "%", column: "drift", weight: true, share: true},
	{name: "boundary", title: "Near a threshold of the quantizer", unit: "% of weights", column: "boundary", weight: true, share: true},
	{name: "dead", title: "In the dead zone for ten measurements", unit: "% of weights", column: "dead", weight: true, share: true},
	{name: "frozen", title: "Same code for ten measurements", unit: "% of weights", column: "frozen", weight: true, share: true},
}

// Panels lists the names of what can be drawn.
func Panels() []string {
	var names []string
	for _, p := range panels {
		names = append(names, p.name)
	}
	return names
}

// choose finds panels by name; none asks for the usual ones that the runs have
// values for.
func choose(names []string, runs []*Run) ([]panel, error) {
	usual := len(names) == 0
	if usual {
		names = []string{"loss", "bits", "lr", "norm", "zero", "flips", "drift", "dead"}
	}
	var out []panel
	for _, name := range names {
		i := slices.IndexFunc(panels, func(p panel) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no panel is called %q: choose from %s", name, strings.Join(Panels(), ", "))
		}
		p := panels[i]
		has := slices.ContainsFunc(runs, func(r *Run) bool {
			if p.weight {
				return len(r.weightSeries("step", p.column, 0, -1)) > 0
			}
			return len(r.series("step", p.column, 0)) > 0
		})
		if has {
			out = append(out, p)
		} else if !usual {
			return nil, fmt.Errorf("no run has values for panel %q yet; those of weights are measured every --stats-every steps", name)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the runs have no steps yet")
	}
	return out, nil
}

// axis is a choice of horizontal axis.
type axis struct {
	column, label string
	per           float64 // what a value is divided by
}

// axisOf finds the column and the unit in which its largest value reads well.
func axisOf(name string, runs []*Run) (axis, error) {
	column := map[string]string{"step": "step", "tokens": "tokens", "time": "seconds", "epoch": "epoch"}[name]
	if column == "" {
		return axis{}, fmt.Errorf("no horizontal axis is called %q: choose from step, tokens, time, epoch", name)
	}
	top := 0.0
	for _, r := range runs {
		if s := r.series(column, "step", 0); len(s) > 0 {
			top = max(top, s[len(s)-1].x)
		}
	}
	type unit struct {
		from, per float64
		label     string
	}
	units := map[string][]unit{
		"step":   {{0, 1, "step"}, {2e5, 1e3, "thousand steps"}, {2e8, 1e6, "million steps"}},
		"tokens": {{0, 1, "tokens"}, {1e4, 1e3, "thousand tokens"}, {1e6, 1e6, "million tokens"}, {1e9, 1e9, "billion tokens"}},
		"time":   {{0, 1, "seconds"}, {300, 60, "minutes"}, {18000, 3600, "hours"}, {400000, 86400, "days"}},
		"epoch":  {{0, 1, "epochs"}},
	}[name]
	a := axis{column: column}
	for _, u := range units {
		if top >= u.from {
			a.label, a.per = u.label, u.per
		}
	}
	return a, nil
}
