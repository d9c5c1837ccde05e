package curves

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The legend's measures.
const (
	legendLine   vg.Length = 15
	legendMargin vg.Length = 10
	legendSwatch vg.Length = 20
	legendSpace  vg.Length = 16
)

// entry is one item of the legend.
type entry struct {
	text  string
	color color.Color
	dash  []vg.Length
	note  bool // no swatch, in grey
}

func (f *figure) entries() []entry {
	var out []entry
	for i, r := range f.runs {
		out = append(out, entry{text: fmt.Sprintf("%s, %d steps", r.Name, r.Steps()), color: runColor(i), dash: dashes(i)})
	}
	if f.byLayer() {
		layers := f.runs[0].layers()
		every := (len(layers) + 7) / 8
		for i := 0; i < len(layers); i += every {
			out = append(out, entry{text: fmt.Sprintf("layer %d", layers[i]), color: depthColor(float64(i) / float64(len(layers)-1))})
		}
	}
	note := "pale: each step · solid: smoothed · circles: held-out text"
	if !f.byLayer() {
		for _, r := range f.runs {
			if r.weights != nil && len(r.weights.Rows) > 0 {
				note += " · band: range over matrices, line: their mean"
				break
			}
		}
	}
	return append(out, entry{text: note, note: true})
}

func legendStyle(note bool) text.Style {
	st := text.Style{Color: color.Gray{30}, Font: sans(9.5), YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
	if note {
		st.Color, st.Font.Size = color.Gray{110}, 8.5
	}
	return st
}

// place calls do with each entry and its place, from the top left, and returns
// the number of lines.
func (f *figure) place(width vg.Length, do func(e entry, x vg.Length, line int)) int {
	x, line := legendMargin, 0
	for _, e := range f.entries() {
		w := legendStyle(e.note).Width(e.text) + legendSpace
		if !e.note {
			w += legendSwatch + 5
		}
		if x > legendMargin && (x+w > width || e.note) {
			x, line = legendMargin, line+1
		}
		do(e, x, line)
		x += w
	}
	return line + 1
}

func (f *figure) legendHeight(width vg.Length) vg.Length {
	lines := f.place(width, func(entry, vg.Length, int) {})
	return vg.Length(lines)*legendLine + legendMargin
}

func (f *figure) legend(dc draw.Canvas, width, height vg.Length) {
	f.place(width, func(e entry, x vg.Length, line int) {
		y := height - legendMargin/2 - (vg.Length(line)+0.5)*legendLine
		if !e.note {
			dc.StrokeLine2(draw.LineStyle{Color: e.color, Width: 2, Dashes: e.dash}, x, y, x+legendSwatch, y)
			x += legendSwatch + 5
		}
		dc.FillText(legendStyle(e.note), vg.Point{X: x, Y: y}, e.text)
	})
}
