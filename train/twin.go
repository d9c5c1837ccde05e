package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/models/checkpoint"
)

// Twin says how a ternary model is compared with its unquantized twin: the same
// model with the same starting weights, trained on the same data in the same
// order.
type Twin struct {
	Seeds []uint64 `json:"seeds,omitempty" flag:"seeds" help:"Seeds that both are trained with; none: seed alone."`
	// What suits one need not suit the other: ternary weights want a higher rate.
	Schedule string  `json:"schedule,omitempty" flag:"twin-schedule" help:"Schedule of the unquantized twin; empty: the ternary model's."`
	Peak     float64 `json:"peak,omitempty" flag:"twin-lr" help:"Peak learning rate of the unquantized twin; 0: the ternary model's."`
}

// Names in the folder of a comparison, beside its runs.
const (
	twinFile = "twin.json" // the settings
	gapJSON  = "gap.json"  // the result
	gapText  = "gap.txt"   // the same as a table
)

// Twins is a comparison: two runs for each seed, in folders of their own below
// Config.Dir, such as seed-1-ternary and seed-1-plain. They are ordinary runs.
type Twins struct {
	cfg  Config
	twin Twin
}

// savedTwin is twin.json.
type savedTwin struct {
	Format int                `json:"format"`
	Twin   Twin               `json:"twin"`
	Config Config             `json:"config"`
	Model  *checkpoint.Config `json:"model,omitempty"` // where Config.Model gives it
	Custom bool               `json:"custom,omitempty"`
}

// NewTwins checks a comparison. cfg is the ternary run's, with the folder of
// them all.
func NewTwins(cfg Config, twin Twin) (*Twins, error) {
	if err := cfg.absolute(); err != nil {
		return nil, err
	}
	t := &Twins{cfg, twin}
	if err := t.check(); err != nil {
		return nil, err
	}
	if t.rank() > 0 {
		return t, nil // rank 0 looks, before it writes there
	}
	path := filepath.Join(cfg.Dir, twinFile)
	if err := readJSON(path, &savedTwin{}); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("train: %s holds a comparison: resume it or choose another folder", cfg.Dir), err)
	}
	return t, nil
}

// ResumeTwins continues the comparison in dir with the settings that it began
// with; change must set what is not saved, as for [Resume], and may change
// nothing else.
func ResumeTwins(dir string, change func(*Config)) (*Twins, error) {
	var s savedTwin
	if err := readJSON(filepath.Join(dir, twinFile), &s); err != nil {
		return nil, fmt.Errorf("train: %s holds no comparison to resume: %w", dir, err)
	}
	if s.Format != progressFormat {
		return nil, fmt.Errorf("train: %s: format %d, this version reads %d", filepath.Join(dir, twinFile), s.Format, progressFormat)
	}
	t := &Twins{s.Config, s.Twin}
	t.cfg.Dir = dir
	if s.Model != nil {
		t.cfg.Model = *s.Model
	}
	if change != nil {
		change(&t.cfg)
	}
	if s.Custom && t.cfg.Declare == nil {
		return nil, fmt.Errorf("train: %s compares an architecture of its own: set Declare to resume it", dir)
	}
	if err := t.cfg.absolute(); err != nil {
		return nil, err
	}
	return t, t.check()
}

func (t *Twins) rank() int {
	rank, _ := t.cfg.Scale.ranks()
	return rank
}

// Config returns the settings of the ternary runs and what the twins differ in.
func (t *Twins) Config() (Config, Twin) { return t.cfg, t.twin }

func (t *Twins) check() error {
	if t.cfg.Plain {
		return errors.New("train: a comparison trains both models: leave plain out")
	}
	seen := map[uint64]bool{}
	for _, s := range t.twin.Seeds {
		if seen[s] {
			return fmt.Errorf("train: seed %d is given twice", s)
		}
		seen[s] = true
	}
	for _, r := range t.runs() {
		cfg := r.cfg
		if err := errors.Join(cfg.shape(), cfg.validate()); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return nil
}

// twinRun is one of the runs.
type twinRun struct {
	TwinRun
	cfg Config
}

// runs lists all of them, pair by pair.
func (t *Twins) runs() (runs []twinRun) {
	seeds := t.twin.Seeds
	if len(seeds) == 0 {
		seeds = []uint64{t.cfg.Seed}
	}
	for _, seed := range seeds {
		for _, plain := range []bool{false, true} {
			r := twinRun{TwinRun{Name: fmt.Sprintf("seed-%d-ternary", seed), Seed: seed, Plain: plain}, t.cfg}
			c := &r.cfg
			c.Seed, c.Plain = seed, plain
			if c.Data.Cache == "" {
				c.Data.Cache = filepath.Join(t.cfg.Dir, cacheDir) // one for all
			}
			if plain {
				r.Name = fmt.Sprintf("seed-%d-plain", seed)
				c.Quantization = Quantization{}
				if t.twin.Schedule != "" {
					c.Optimizer.Schedule.Kind = t.twin.Schedule
				}
				if t.twin.Peak != 0 {
					c.Optimizer.Schedule.Peak = t.twin.Peak
				}
			}
			c.Dir = filepath.Join(t.cfg.Dir, r.Name)
			r.Schedule, r.Peak = c.Optimizer.Schedule.Kind, c.Optimizer.Schedule.Peak
			runs = append(runs, r)
		}
	}
	return runs
}

// Run trains what is not trained yet, one run after another, and writes gap.json
// and gap.txt after each pair. events gets the name of the run with each event;
// it may be nil. When ctx is cancelled the run under way writes a checkpoint, and
// [ResumeTwins] goes on from there.
//
// With several ranks each run is trained on all of them. Rank 0 says what is done
// and returns the gap; the others return nil.
func (t *Twins) Run(ctx context.Context, events func(run string, e Event)) (*Gap, error) {
	if t.rank() == 0 {
		if err := t.save(); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
	}
	var gap *Gap
	var done []TwinRun
	for _, r := range t.runs() {
		p, err := t.one(ctx, r, events)
		if err != nil {
			return gap, fmt.Errorf("%s: %w", r.Name, err)
		}
		r.Steps, r.Last, r.Best, r.data, r.at = p.Step, *p.Last, *p.Best, p.Data, p.Position
		done = append(done, r.TwinRun)
		if !r.Plain || t.rank() > 0 {
			continue
		}
		if gap, err = t.gap(done); err != nil {
			return nil, err
		}
		if err := gap.write(t.cfg.Dir); err != nil {
			return gap, fmt.Errorf("train: %w", err)
		}
	}
	return gap, nil
}

// save writes twin.json.
func (t *Twins) save() error {
	if err := os.MkdirAll(t.cfg.Dir, 0o777); err != nil {
		return err
	}
	saved := savedTwin{Format: progressFormat, Twin: t.twin, Config: t.cfg, Custom: t.cfg.Declare != nil}
	if t.cfg.Model.Hidden != 0 {
		saved.Model = &t.cfg.Model
	}
	return writeJSON(filepath.Join(t.cfg.Dir, twinFile), saved)
}

// one trains a run to its end, if it is not there yet.
func (t *Twins) one(ctx context.Context, r twinRun, events func(string, Event)) (*progress, error) {
	p, err := t.agreed(func() (*progress, error) { return reached(r) })
	if err != nil {
		return nil, err
	}
	if p == nil || p.Step < r.cfg.Steps {
		var tr *Trainer
		if p == nil {
			tr, err = New(r.cfg)
		} else {
			tr, err = Resume(r.cfg.Dir, func(c *Config) {
				c.Device, c.Declare, c.Scale.Ranks = r.cfg.Device, r.cfg.Declare, r.cfg.Scale.Ranks
			})
		}
		if err != nil {
			return nil, err
		}
		err = tr.Run(ctx, func(e Event) {
			if events != nil {
				events(r.Name, e)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return t.agreed(func() (*progress, error) { return finished(ctx, r) })
}

// agreed is what look finds on rank 0, on every rank: the others may see its files
// before or after it changes them.
func (t *Twins) agreed(look func() (*progress, error)) (*progress, error) {
	if _, size := t.cfg.Scale.ranks(); size == 1 {
		return look()
	}
	var seen struct {
		Progress *progress
		Err      string
	}
	var text []byte
	var bad error
	if t.rank() == 0 {
		if seen.Progress, bad = look(); bad != nil {
			seen.Err = bad.Error()
		}
		var err error
		if text, err = json.Marshal(seen); err != nil {
			return nil, fmt.Errorf("train: %w", err)
		}
	}
	text, err := t.cfg.Scale.broadcast(text)
	if err != nil {
		return nil, err
	}
	if t.rank() == 0 {
		return seen.Progress, bad
	}
	if err := json.Unmarshal(text, &seen); err != nil {
		return nil, fmt.Errorf("train: from rank 0: %w", err)
	}
	if seen.Err != "" {
		return nil, fmt.Errorf("rank 0: %s", seen.Err)
	}
	return seen.Progress, nil
}

// reached is how far a run has come, nil if it has not begun.
func reached(r twinRun) (*progress, error) {
	s, _, err := newest(r.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s.progress, nil
}

// finished is the last state of a run that is trained to its end.
func finished(ctx context.Context, r twinRun) (*progress, error) {
	s, _, err := newest(r.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if s.Last == nil || s.Last.Step != s.Step {
		// It was stopped between its last step and the validation.
		score, err := Evaluate(ctx, r.cfg.Dir, EvaluateOptions{Device: r.cfg.Device, Declare: r.cfg.Declare, Windows: r.cfg.ValidateWindows})
		if err != nil {
			return nil, err
		}
		s.Last = &Validated{Step: s.Step, Loss: score.Loss(), BitsPerByte: score.BitsPerByte()}
		if s.Best == nil || s.Last.Loss < s.Best.Loss {
			s.Best = s.Last
		}
	}
	return &s.progress, nil
}

// gap compares the pairs that are complete.
func (t *Twins) gap(done []TwinRun) (*Gap, error) {
	g := &Gap{Device: t.cfg.Device.Name(), Tokens: t.cfg.Rows * t.cfg.Window * t.cfg.Steps, ValidateWindows: t.cfg.ValidateWindows, Runs: slices.Clone(done)}
	var err error
	if g.Parameters, err = countWeights(filepath.Join(t.cfg.Dir, done[0].Name)); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var loss, best, bits [3][]float64
	for i := 0; i+1 < len(done); i += 2 {
		a, b := done[i], done[i+1]
		if a.data != b.data || a.at != b.at {
			return nil, fmt.Errorf("train: %s and %s did not see the same data: %s at %+v, %s at %+v", a.Name, b.Name, a.data, a.at, b.data, b.at)
		}
		for _, v := range []struct {
			to   *[3][]float64
			a, b float64
		}{{&loss, a.Last.Loss, b.Last.Loss}, {&best, a.Best.Loss, b.Best.Loss}, {&bits, a.Last.BitsPerByte, b.Last.BitsPerByte}} {
			v.to[0], v.to[1], v.to[2] = append(v.to[0], v.a), append(v.to[1], v.b), append(v.to[2], v.a-v.b)
		}
	}
	for _, v := range []struct {
		to   *Compared
		from [3][]float64
	}{{&g.Loss, loss}, {&g.Best, best}, {&g.BitsPerByte, bits}} {
		*v.to = Compared{spread(v.from[0]), spread(v.from[1]), spread(v.from[2])}
	}
	return g, nil
}

// countWeights is the number of values in a run's weights.
func countWeights(run string) (int, error) {
	weights, err := Weights(run, false)
	if err != nil {
		return 0, err
	}
	all, err := readTensors(weights, weightsStem, nil)
	n := 0
	for _, t := range all {
		n += t.Len()
	}
	return n, err
}

func (g *Gap) write(dir string) error {
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.WriteFile(filepath.Join(dir, gapJSON), append(text, '\n')),
		atomicfile.WriteFile(filepath.Join(dir, gapText), []byte(g.String())))
}
