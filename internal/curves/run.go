// Package curves draws the curves of training runs (see package record) as PNG or
// SVG pictures.
package curves

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/trit-ml/trit/train/record"
)

// Run is the record of a run.
type Run struct {
	Name    string // for the legend
	metrics *record.Data
	weights *record.Data // nil if there is none
}

// Open reads the record of the run in a folder, or a metrics.csv by its path.
func Open(path string) (*Run, error) {
	dir, file := path, filepath.Join(path, "metrics.csv")
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		dir, file = filepath.Dir(path), path
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{Name: filepath.Base(abs)}
	if r.metrics, err = record.ReadFile(file); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not the folder of a training run: %w", path, err)
		}
		return nil, err
	}
	if r.weights, err = record.ReadFile(filepath.Join(dir, "weights.csv")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return r, nil
}

// Names gives runs of one name different ones, from their paths.
func Names(runs []*Run, paths []string) {
	count := map[string]int{}
	for _, r := range runs {
		count[r.Name]++
	}
	for i, r := range runs {
		if count[r.Name] > 1 {
			r.Name = filepath.ToSlash(filepath.Clean(paths[i]))
		}
	}
}

// Steps is the last step of the record.
func (r *Run) Steps() int {
	if n := len(r.metrics.Steps); n > 0 {
		return r.metrics.Steps[n-1]
	}
	return 0
}

// point is a value at a place of the horizontal axis.
type point struct{ x, y float64 }

// series is a column of metrics against another, without unknown values.
func (r *Run) series(x, y string, from int) []point {
	xs, okX := r.metrics.Numbers(x)
	ys, okY := r.metrics.Numbers(y)
	if !okX || !okY {
		return nil
	}
	var out []point
	for i := range xs {
		if r.metrics.Steps[i] >= from && finite(xs[i]) && finite(ys[i]) {
			out = append(out, point{xs[i], ys[i]})
		}
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// at finds a value of metrics by step, for the horizontal axis of weights.
func (r *Run) at(column string) func(step int) (float64, bool) {
	xs, ok := r.metrics.Numbers(column)
	return func(step int) (float64, bool) {
		i, found := slices.BinarySearch(r.metrics.Steps, step)
		if !ok || !found {
			return 0, false
		}
		return xs[i], finite(xs[i])
	}
}

// spread is a value of all matrices, or of those of a layer, at a place of the
// horizontal axis.
type spread struct{ x, mean, low, high float64 }

// layerNumber finds the layer in a param's name, as in model.layers.3.mlp.
var layerNumber = regexp.MustCompile(`\.(\d+)\.`)

// layerOf is the layer of a param, -1 if its name has none.
func layerOf(param string) int {
	m := layerNumber.FindStringSubmatch(param)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}

// layers lists the layers of the record, in ascending order.
func (r *Run) layers() []int {
	if r.weights == nil {
		return nil
	}
	params, _ := r.weights.Text("param")
	var out []int
	for _, p := range params {
		if n := layerOf(p); n >= 0 && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// weightSeries is a column of weights over all matrices, or over those of one
// layer if that is not negative.
func (r *Run) weightSeries(x, y string, from, layer int) []spread {
	if r.weights == nil {
		return nil
	}
	params, okP := r.weights.Text("param")
	ys, okY := r.weights.Numbers(y)
	if !okP || !okY {
		return nil
	}
	at := r.at(x)
	var out []spread
	n, last := 0, -1
	for i, step := range r.weights.Steps {
		if step < from || !finite(ys[i]) || layer >= 0 && layerOf(params[i]) != layer {
			continue
		}
		if step != last {
			place, ok := at(step)
			if !ok {
				continue
			}
			out = append(out, spread{x: place, low: math.Inf(1), high: math.Inf(-1)})
			n, last = 0, step
		}
		s := &out[len(out)-1]
		n++
		s.mean += (ys[i] - s.mean) / float64(n)
		s.low, s.high = min(s.low, ys[i]), max(s.high, ys[i])
	}
	return out
}
