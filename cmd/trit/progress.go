package main

import (
	"fmt"
	"io"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/trit-ml/trit/train"
)

// progress shows a training run: a bar on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	every int
	bars  *mpb.Progress
	bar   *mpb.Bar
	last  train.Event
}

func newProgress(w io.Writer, every int) *progress {
	p := &progress{w: w, every: max(every, 1)}
	if isTerminal(w) {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// event shows one event.
func (p *progress) event(e train.Event) {
	switch {
	case e.Kind == train.Preparing && e.Total > 0 && e.Done < e.Total:
		return // too many to print
	case p.bars == nil:
		if e.Kind != train.Stepped || e.Step%p.every == 0 || e.Step == 1 || e.Step == e.Steps {
			fmt.Fprintln(p.w, e)
		}
	case e.Kind == train.Stepped:
		p.last = e
		if p.bar == nil {
			p.bar = p.bars.AddBar(int64(e.Steps),
				mpb.PrependDecorators(decor.CountersNoUnit("%d/%d")),
				mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
					return fmt.Sprintf("loss %.4f  %.3f bits/byte  %.0f tokens/s  %s left", p.last.Loss, p.last.BitsPerByte, p.last.TokensPerSecond, p.last.Remaining.Round(1e9))
				})))
		}
		p.bar.SetCurrent(int64(e.Step))
	default:
		fmt.Fprintln(p.bars, e) // above the bar
	}
}

// close leaves the terminal in order.
func (p *progress) close() {
	if p.bars == nil {
		return
	}
	if p.bar != nil && !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.bars.Wait()
}
