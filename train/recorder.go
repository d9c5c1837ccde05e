package train

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/trit-ml/trit/internal/tfevents"
	"github.com/trit-ml/trit/train/record"
)

// metricColumns are those of metrics.csv; a row is a step.
var metricColumns = []string{record.StepColumn, "epoch", "tokens", "seconds", "loss", "bits_per_byte", "grad_norm", "lr", "decay", "tokens_per_second", "valid_loss", "valid_bits_per_byte", "objective"}

// recorder writes a run's curves to its folder: metrics.csv, weights.csv and
// TensorBoard's files. What cannot be written is reported once and leaves a gap;
// training does not depend on it.
type recorder struct {
	warn       func(error)
	boardEvery int

	metrics, weights *record.Table    // nil if they could not be opened
	board            *tfevents.Writer // nil likewise, and where it is off
	failing          map[string]bool

	row     *Event // of the last step, until it is known whether it was validated
	valid   Validated
	seconds float64 // that the run took until this process went on with it
	flushed time.Time
	scalars []tfevents.Scalar
}

// newRecorder opens the files for a run that goes on after step.
func newRecorder(dir string, step, boardEvery int, warn func(error)) *recorder {
	r := &recorder{warn: warn, boardEvery: boardEvery, failing: map[string]bool{}}
	r.metrics = r.open(filepath.Join(dir, metricsFile), metricColumns, step)
	r.weights = r.open(filepath.Join(dir, weightsFile), append([]string{record.StepColumn, "param"}, weightColumns...), step)
	if r.metrics != nil {
		if last := r.metrics.Last(); last != nil {
			r.seconds, _ = strconv.ParseFloat(last[3], 64)
		}
	}
	if boardEvery > 0 {
		var err error
		r.board, err = tfevents.Create(filepath.Join(dir, boardDir), int64(step))
		r.check(boardDir, err)
	}
	return r
}

func (r *recorder) open(path string, columns []string, step int) *record.Table {
	t, err := record.Open(path, columns, step)
	if errors.Is(err, record.ErrColumns) {
		// Another version's, or another program's.
		old := path + ".old"
		if rerr := os.Rename(path, old); rerr == nil {
			r.warn(fmt.Errorf("%w: it is kept as %s", err, old))
			t, err = record.Open(path, columns, step)
		}
	}
	r.check(path, err)
	return t
}

// check reports the first of several failures.
func (r *recorder) check(what string, err error) {
	if err != nil && !r.failing[what] {
		r.warn(fmt.Errorf("curves are not recorded from here on, until there is a way to again: %w", err))
	}
	r.failing[what] = err != nil
}

// event takes what is worth recording.
func (r *recorder) event(e Event) {
	if r == nil {
		return
	}
	switch e.Kind {
	case Stepped:
		r.flushRow()
		r.row, r.valid = &e, Validated{}
	case Scored:
		if r.row != nil {
			r.valid = e.Valid
		}
		r.point(e.Step, true, tfevents.Scalar{Tag: "loss/validation", Value: float32(e.Valid.Loss)},
			tfevents.Scalar{Tag: "bits_per_byte/validation", Value: float32(e.Valid.BitsPerByte)})
	case Measured:
		r.measured(e)
	}
}

// flushRow writes the row of the last step.
func (r *recorder) flushRow() {
	e := r.row
	if e == nil {
		return
	}
	r.row = nil
	if r.board != nil && time.Since(r.flushed) > time.Second { // for those who watch
		r.flushed = time.Now()
		r.check(boardDir, r.board.Flush())
	}
	r.point(e.Step, e.Step%max(r.boardEvery, 1) == 0,
		tfevents.Scalar{Tag: "loss/train", Value: float32(e.Loss)},
		tfevents.Scalar{Tag: "loss/objective", Value: float32(e.Objective)},
		tfevents.Scalar{Tag: "bits_per_byte/train", Value: float32(e.BitsPerByte)},
		tfevents.Scalar{Tag: "optimizer/learning_rate", Value: float32(e.LR)},
		tfevents.Scalar{Tag: "optimizer/weight_decay", Value: float32(e.Decay)},
		tfevents.Scalar{Tag: "optimizer/gradient_norm", Value: float32(e.GradNorm)},
		tfevents.Scalar{Tag: "speed/tokens_per_second", Value: float32(e.TokensPerSecond)})
	if r.metrics == nil {
		return
	}
	valid, bits := math.NaN(), math.NaN()
	if r.valid.Step == e.Step {
		valid, bits = r.valid.Loss, r.valid.BitsPerByte
	}
	cells := []string{record.Number(e.Epoch), strconv.FormatInt(e.Tokens, 10),
		strconv.FormatFloat(r.seconds+e.Elapsed.Seconds(), 'f', 3, 64)}
	for _, v := range []float64{e.Loss, e.BitsPerByte, e.GradNorm, e.LR, e.Decay, math.Round(e.TokensPerSecond), valid, bits, e.Objective} {
		cells = append(cells, record.Number(v))
	}
	r.check(metricsFile, r.metrics.Append(e.Step, cells...))
}

// measured writes a row for each matrix; TensorBoard also gets their mean.
func (r *recorder) measured(e Event) {
	r.scalars = r.scalars[:0]
	add := func(name string, s WeightStats) {
		for i, v := range s.values() {
			if !math.IsNaN(*v) {
				r.scalars = append(r.scalars, tfevents.Scalar{Tag: "weights_" + weightColumns[i] + "/" + name, Value: float32(*v)})
			}
		}
	}
	add("all", Total(e.Weights))
	for _, s := range e.Weights {
		add(s.Param, s)
		if r.weights == nil {
			continue
		}
		cells := []string{s.Param}
		for _, v := range s.values() {
			cells = append(cells, record.Number(*v))
		}
		r.check(weightsFile, r.weights.Append(e.Step, cells...))
	}
	r.point(e.Step, true, r.scalars...)
}

// point adds scalars to TensorBoard's file if they are wanted.
func (r *recorder) point(step int, want bool, scalars ...tfevents.Scalar) {
	if r.board != nil && want {
		r.check(boardDir, r.board.Add(int64(step), scalars))
	}
}

// flush hands everything so far to the system.
func (r *recorder) flush() {
	if r == nil {
		return
	}
	r.flushRow()
	if r.board != nil {
		r.check(boardDir, r.board.Flush())
	}
}

// sync makes what was flushed durable. It may be called beside events.
func (r *recorder) sync() error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, t := range []*record.Table{r.metrics, r.weights} {
		if t != nil {
			errs = append(errs, t.Sync())
		}
	}
	return errors.Join(errs...)
}

func (r *recorder) close() error {
	if r == nil {
		return nil
	}
	r.flush()
	var errs []error
	for _, t := range []*record.Table{r.metrics, r.weights} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if r.board != nil {
		errs = append(errs, r.board.Close())
	}
	return errors.Join(errs...)
}
