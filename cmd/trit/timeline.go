package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"time"

	"github.com/trit-ml/trit/engine"
	"github.com/trit-ml/trit/runtime"
)

// The timeline's measures, in pixels.
const (
	timelineWidth = 1200.0
	timelineRow   = 18
	timelineLabel = 330.0
)

// writeTimeline draws the calls of a step from left to right, a row for each
// kernel, the ones that take longest on top.
func writeTimeline(w io.Writer, calls []runtime.Timing) error {
	total := time.Duration(0)
	for _, c := range calls {
		total += c.Time
	}
	shares := engine.ByKernel(calls)
	row := map[string]int{}
	o := bufio.NewWriter(w)
	fmt.Fprintf(o, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="monospace" font-size="11">`+"\n",
		timelineLabel+timelineWidth+20, (len(shares)+2)*timelineRow)
	fmt.Fprintln(o, `<rect width="100%" height="100%" fill="white"/>`)
	for i, s := range shares {
		row[s.Kernel] = i
		fmt.Fprintf(o, `<text x="4" y="%d">%s %.2f ms</text>`+"\n", i*timelineRow+13, html.EscapeString(s.Kernel), s.Time.Seconds()*1e3)
	}
	at := time.Duration(0)
	x := func(d time.Duration) float64 {
		return timelineLabel + timelineWidth*d.Seconds()/max(total.Seconds(), 1e-9)
	}
	for _, c := range calls {
		color := "#7aa6d8"
		if c.Read == 0 {
			color = "#d89a7a" // no weights: activations only
		}
		fmt.Fprintf(o, `<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"><title>%s %s %v</title></rect>`+"\n",
			x(at), row[c.Kernel]*timelineRow+3, max(x(at+c.Time)-x(at), 0.3), timelineRow-5, color, html.EscapeString(c.Where), html.EscapeString(c.Kernel), c.Time)
		at += c.Time
	}
	fmt.Fprintf(o, `<text x="%.0f" y="%d">0</text><text x="%.0f" y="%d" text-anchor="end">%.2f ms</text>`+"\n",
		timelineLabel, (len(shares)+1)*timelineRow, timelineLabel+timelineWidth, (len(shares)+1)*timelineRow, total.Seconds()*1e3)
	fmt.Fprintln(o, "</svg>")
	return o.Flush()
}
