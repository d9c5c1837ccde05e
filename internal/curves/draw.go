package curves

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Options say what is drawn. Zero fields take defaults.
type Options struct {
	Panels []string // by name; none: the usual ones that there are values for
	X      string   // "step", "tokens", "time" or "epoch"
	From   int      // leave out earlier steps
	// Smooth is over how many steps an average of a noisy curve forgets by half;
	// 0 takes a hundredth of the run, negative does not smooth.
	Smooth float64
	// Width of the picture in pixels; its height follows.
	Width int
}

const (
	defaultWidth = 1200
	dpi          = 96
	maxPoints    = 1600 // of one curve, more than there are pixels
)

// Write draws runs over each other into a file, whose name ends in .png or .svg.
func Write(path string, runs []*Run, o Options) error {
	var format string
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png", ".svg":
		format = ext[1:]
	default:
		return fmt.Errorf("%s: a picture's name ends in .png or .svg", path)
	}
	out, err := Draw(runs, o, format)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := out.WriteTo(f); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// Draw draws runs over each other, as "png" or "svg".
func Draw(runs []*Run, o Options, format string) (io.WriterTo, error) {
	if o.X == "" {
		o.X = "step"
	}
	if o.Width == 0 {
		o.Width = defaultWidth
	}
	if o.Width < 300 || o.Width > 10000 {
		return nil, fmt.Errorf("a picture of %d pixels: its width is 300 to 10000", o.Width)
	}
	chosen, err := choose(o.Panels, runs)
	if err != nil {
		return nil, err
	}
	x, err := axisOf(o.X, runs)
	if err != nil {
		return nil, err
	}
	cols := 2
	if len(chosen) == 1 || o.Width < 700 {
		cols = 1
	}
	rows := (len(chosen) + cols - 1) / cols
	f := figure{runs: runs, o: o, x: x}
	f.reach()
	width := pixels(o.Width)
	cell := width / vg.Length(cols) * 0.58
	height := cell*vg.Length(rows) + f.legendHeight(width)
	var canvas interface {
		vg.CanvasSizer
		io.WriterTo
	}
	switch format {
	case "png":
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))}
	case "svg":
		canvas = vgsvg.New(width, height)
	default:
		return nil, fmt.Errorf("no picture is of format %q: png or svg", format)
	}
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	f.legend(dc, width, height)
	area := draw.Crop(dc, 8, -10, 6, -f.legendHeight(width))
	f.panels(area, chosen, rows, cols)
	return canvas, nil
}

// pixels is a length at dpi.
func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dpi }

// figure is a picture being drawn.
type figure struct {
	runs []*Run
	o    Options
	x    axis

	left, right float64 // the horizontal axis of all panels
}

// reach finds the horizontal axis.
func (f *figure) reach() {
	f.left, f.right = math.Inf(1), math.Inf(-1)
	for _, r := range f.runs {
		for _, p := range r.series(f.x.column, "step", f.o.From) {
			f.left, f.right = min(f.left, p.x/f.x.per), max(f.right, p.x/f.x.per)
		}
	}
	if f.left < 0.05*f.right { // from the start
		f.left = 0
	}
}

// The colours of runs are those of Okabe and Ito 2008, which the colour-blind can
// tell apart, without the yellow, which is pale on white.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255},
}

func runColor(i int) color.RGBA { return palette[i%len(palette)] }

// pale is c with little ink.
func pale(c color.RGBA, share float64) color.NRGBA {
	return color.NRGBA{c.R, c.G, c.B, uint8(255 * share)}
}

// dashes tell runs apart when colours repeat.
func dashes(i int) []vg.Length {
	return [][]vg.Length{nil, {4, 2}, {1, 2}}[i/len(palette)%3]
}

// depthColor goes from blue for the first layer to yellow-green for the last, in
// lightness too, along points of the viridis map.
func depthColor(at float64) color.RGBA {
	stops := []color.RGBA{{68, 1, 84, 255}, {59, 82, 139, 255}, {33, 145, 140, 255}, {94, 201, 98, 255}, {190, 200, 30, 255}}
	at = min(max(at, 0), 1) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	a, b, t := stops[i], stops[i+1], at-float64(i)
	mix := func(a, b uint8) uint8 { return uint8(float64(a) + t*(float64(b)-float64(a)) + 0.5) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// byLayer reports whether weights are drawn layer by layer: where there is only
// one run, and it has several.
func (f *figure) byLayer() bool { return len(f.runs) == 1 && len(f.runs[0].layers()) > 1 }

// panels draws all panels, with their axes in line.
func (f *figure) panels(dc draw.Canvas, chosen []panel, rows, cols int) {
	grid := make([][]*plot.Plot, rows)
	for r := range grid {
		grid[r] = make([]*plot.Plot, cols)
		for c := range cols {
			if i := r*cols + c; i < len(chosen) {
				grid[r][c] = f.plot(chosen[i])
			}
		}
	}
	tiles := draw.Tiles{Rows: rows, Cols: cols, PadX: 14, PadY: 12, PadTop: 2}
	for r, line := range plot.Align(grid, tiles, dc) {
		for c, at := range line {
			if grid[r][c] != nil {
				grid[r][c].Draw(at)
			}
		}
	}
}

// plot makes one panel.
func (f *figure) plot(p panel) *plot.Plot {
	pl := plot.New()
	pl.Title.Text = p.title
	pl.Title.TextStyle.Font = sans(11)
	pl.Title.Padding = 4
	for _, a := range []*plot.Axis{&pl.X, &pl.Y} {
		a.Label.TextStyle.Font = sans(9)
		a.Tick.Label.Font = sans(8.5)
		a.Tick.Length = 3
		a.LineStyle.Width = 0.5
		a.Tick.LineStyle.Width = 0.5
		a.Padding = 0
	}
	pl.Y.Label.Padding = 4
	pl.X.Label.Text, pl.Y.Label.Text = f.x.label, p.unit
	per := 1.0
	if p.share {
		per = 0.01
	}
	var curves []curve
	if p.weight {
		curves = f.weightCurves(p)
	} else {
		curves = f.metricCurves(p)
	}
	low, high := math.Inf(1), math.Inf(-1)
	for i := range curves {
		c := &curves[i]
		for j := range c.points {
			c.points[j] = point{c.points[j].x / f.x.per, c.points[j].y / per}
		}
		for j := range c.band {
			s := &c.band[j]
			*s = spread{s.x / f.x.per, s.mean / per, s.low / per, s.high / per}
			if s.low > 0 || !p.log {
				low = min(low, s.low)
			}
			high = max(high, s.high)
		}
		if !c.background {
			for _, q := range c.points {
				if q.y > 0 || !p.log {
					low, high = min(low, q.y), max(high, q.y)
				}
			}
		}
	}
	log := p.log && high > 2*low && low > 0
	if log {
		pl.Y.Scale, pl.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	} else {
		pl.Y.Tick.Marker = linearTicks{}
	}
	pl.X.Tick.Marker = linearTicks{}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{228}, color.Gray{240}
	pl.Add(grid)
	for _, c := range curves {
		c.add(pl, log, low)
	}
	if f.left < f.right {
		pl.X.Min, pl.X.Max = f.left, f.right
	}
	// A pale background of outliers, such as the first steps' losses, does not
	// decide what is seen.
	if finite(low) && finite(high) {
		switch {
		case log:
			pl.Y.Min, pl.Y.Max = low/1.2, high*1.2
		case high > low:
			pl.Y.Min, pl.Y.Max = low-0.05*(high-low), high+0.05*(high-low)
			if low >= 0 {
				pl.Y.Min = max(pl.Y.Min, 0)
			}
		default:
			pl.Y.Min, pl.Y.Max = low-max(0.05*math.Abs(low), 1e-3), high+max(0.05*math.Abs(high), 1e-3)
		}
	}
	return pl
}

// metricCurves are the curves of a column of metrics.csv.
func (f *figure) metricCurves(p panel) []curve {
	var back, front []curve
	for i, r := range f.runs {
		c := runColor(i)
		all := r.series(f.x.column, p.column, f.o.From)
		line := all
		if p.smooth && f.o.Smooth >= 0 {
			half := f.o.Smooth
			if half == 0 {
				half = float64(len(all)) / 100
			}
			if half >= 1 {
				line = smooth(all, half)
				back = append(back, curve{points: thin(all, maxPoints), color: pale(c, 0.25), width: 0.6, background: true})
			}
		}
		front = append(front, curve{points: thin(line, maxPoints), color: c, width: 1.3, dash: dashes(i)})
		if p.valid != "" {
			if v := r.series(f.x.column, p.valid, f.o.From); len(v) > 0 {
				front = append(front, curve{points: thin(v, maxPoints/8), color: c, width: 0.8, dash: []vg.Length{2, 2}, circles: true})
			}
		}
	}
	return append(back, front...)
}

// weightCurves are those of a column of weights.csv: each layer of a single run,
// or each run's mean with the range of its matrices.
func (f *figure) weightCurves(p panel) []curve {
	var back, front []curve
	points := func(in []spread) []point {
		out := make([]point, len(in))
		for i, s := range in {
			out[i] = point{s.x, s.mean}
		}
		return thin(out, maxPoints)
	}
	if f.byLayer() {
		layers := f.runs[0].layers()
		for i, l := range layers {
			s := f.runs[0].weightSeries(f.x.column, p.column, f.o.From, l)
			front = append(front, curve{points: points(s), color: depthColor(float64(i) / float64(len(layers)-1)), width: 1.2})
		}
		return front
	}
	for i, r := range f.runs {
		s := r.weightSeries(f.x.column, p.column, f.o.From, -1)
		if len(s) <= maxPoints {
			back = append(back, curve{band: s, color: pale(runColor(i), 0.13), background: true})
		}
		front = append(front, curve{points: points(s), color: runColor(i), width: 1.3, dash: dashes(i)})
	}
	return append(back, front...)
}

// curve is a line, or a band, of one colour.
type curve struct {
	points     []point
	band       []spread
	color      color.Color
	width      vg.Length
	dash       []vg.Length
	circles    bool
	background bool // it does not decide the axis
}

// add puts the curve into a plot whose vertical axis begins about low.
func (c curve) add(pl *plot.Plot, log bool, low float64) {
	floor := func(y float64) float64 {
		if log {
			return max(y, low/1.2) // there is no zero
		}
		return y
	}
	if len(c.band) > 1 {
		var b band
		b.color = c.color
		for _, s := range c.band {
			b.ring = append(b.ring, point{s.x, floor(s.high)})
		}
		for i := len(c.band) - 1; i >= 0; i-- {
			b.ring = append(b.ring, point{c.band[i].x, floor(c.band[i].low)})
		}
		pl.Add(b)
	}
	if len(c.points) == 0 {
		return
	}
	xy := make(plotter.XYs, len(c.points))
	for i, p := range c.points {
		xy[i] = plotter.XY{X: p.x, Y: floor(p.y)}
	}
	if line, err := plotter.NewLine(xy); err == nil && len(xy) > 1 {
		line.Color, line.Width, line.Dashes = c.color, c.width, c.dash
		pl.Add(line)
	}
	if marks, err := plotter.NewScatter(xy); err == nil && (c.circles || len(xy) == 1) {
		marks.GlyphStyle = draw.GlyphStyle{Color: c.color, Radius: 2, Shape: draw.CircleGlyph{}}
		pl.Add(marks)
	}
}

// band is a filled range, cut off at the axes.
type band struct {
	ring  []point
	color color.Color
}

// Plot implements plot.Plotter.
func (b band) Plot(dc draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&dc)
	pts := make([]vg.Point, len(b.ring))
	for i, q := range b.ring {
		pts[i] = vg.Point{X: x(q.x), Y: y(q.y)}
	}
	if pts = dc.ClipPolygonXY(pts); len(pts) > 2 {
		dc.FillPolygon(b.color, pts)
	}
}
