package main

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// countBar shows how much of a known amount is done, on a terminal only.
type countBar struct {
	bars *mpb.Progress
	bar  *mpb.Bar
	name string
}

func newCountBar(w io.Writer, name string) *countBar {
	b := &countBar{name: name}
	if isTerminal(w) {
		b.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return b
}

func (b *countBar) set(done, total int) {
	if b.bars == nil {
		return
	}
	if b.bar == nil {
		b.bar = b.bars.AddBar(int64(total), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(b.name+" "), decor.CountersNoUnit("%d/%d")),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO)))
	}
	b.bar.SetCurrent(int64(done))
}

// close leaves the terminal in order.
func (b *countBar) close() {
	if b.bars == nil {
		return
	}
	if b.bar != nil && !b.bar.Completed() {
		b.bar.Abort(true)
	}
	b.bars.Wait()
}
