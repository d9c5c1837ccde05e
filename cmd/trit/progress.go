package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/trit-ml/trit/train"
)

// progress shows a training run: a bar on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	every int
	bars  *mpb.Progress
	bar   *mpb.Bar
	last  atomic.Pointer[train.Event] // the bar is drawn by a goroutine of its own
}

func newProgress(w io.Writer, every int) *progress {
	p := &progress{w: w, every: max(every, 1)}
	if isTerminal(w) {
		p.bars = mpb.New(mpb.WithOutput(w))
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && cwriter.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// barWidth is how wide the bar itself is.
const barWidth = 16

// stepLine is what stands beside the bar: as many fields as width columns hold,
// the most wanted first.
func stepLine(e *train.Event, width int) string {
	fields := []string{
		fmt.Sprintf("loss %.4f", e.Loss),
		e.Remaining.Round(time.Second).String() + " left",
		fmt.Sprintf("%.3f bits/byte", e.BitsPerByte),
		fmt.Sprintf("%.0f tokens/s", e.TokensPerSecond),
		fmt.Sprintf("lr %.1e", e.LR),
		fmt.Sprintf("norm %.2f", e.GradNorm),
	}
	shown := map[int]bool{}
	for i, f := range fields {
		if width -= len(f) + 2; width < 0 {
			break
		}
		shown[i] = true
	}
	line := ""
	for _, i := range []int{0, 2, 4, 5, 3, 1} { // as Event.String has them
		if shown[i] {
			line += "  " + fields[i]
		}
	}
	return line
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
		p.last.Store(&e)
		if p.bar == nil {
			p.bar = p.bars.AddBar(int64(e.Steps),
				mpb.BarWidth(barWidth),
				mpb.PrependDecorators(decor.CountersNoUnit("%d/%d")),
				mpb.AppendDecorators(decor.Any(func(st decor.Statistics) string {
					return stepLine(p.last.Load(), st.AvailableWidth-barWidth)
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
