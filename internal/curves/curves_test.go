package curves

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// folder makes the record of a run with a curve of its own.
func folder(t *testing.T, name string, steps int, level float64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var m, w strings.Builder
	m.WriteString("step,epoch,tokens,seconds,loss,bits_per_byte,grad_norm,lr,decay,tokens_per_second,valid_loss,valid_bits_per_byte\n")
	w.WriteString("step,param,minus,zero,plus,flip_rate,scale,drift,boundary,dead,frozen\n")
	for s := 1; s <= steps; s++ {
		valid := ","
		if s%20 == 0 {
			valid = fmt.Sprintf("%v,%v", level+1/float64(s), level)
			for layer := range 3 {
				fmt.Fprintf(&w, "%d,model.layers.%d.mlp.up_proj.weight,0.3,0.4,0.3,%v,0.02,%v,0.06,%s,\n",
					s, layer, 0.1/float64(s), float64(layer*s)/100, []string{"", "0.2"}[min(s/60, 1)])
			}
		}
		fmt.Fprintf(&m, "%d,%v,%d,%v,%v,%v,%v,0.001,0.1,5000,%s\n", s, float64(s)/50, s*512, s*3, level+3/math.Sqrt(float64(s))+0.1*math.Sin(float64(s)), level, 10/float64(s), valid)
	}
	for file, text := range map[string]string{"metrics.csv": m.String(), "weights.csv": w.String()} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openAll(t *testing.T, paths ...string) []*Run {
	t.Helper()
	var runs []*Run
	for _, p := range paths {
		r, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	Names(runs, paths)
	return runs
}

// TestPictures: a PNG has the size asked for and the runs' colours, an SVG is
// XML with titles, axes and the runs' names.
func TestPictures(t *testing.T) {
	runs := openAll(t, folder(t, "first", 200, 1), folder(t, "second", 100, 2))
	out := filepath.Join(t.TempDir(), "x.png")
	if err := Write(out, runs, Options{Width: 800, Panels: []string{"loss", "flips", "lr"}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil || img.Bounds().Dx() != 800 {
		t.Fatalf("%v, %v", img.Bounds(), err)
	}
	seen := map[[3]uint32]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			seen[[3]uint32{r >> 8, g >> 8, b >> 8}]++
		}
	}
	for i := range runs {
		c := runColor(i)
		if n := seen[[3]uint32{uint32(c.R), uint32(c.G), uint32(c.B)}]; n < 100 {
			t.Errorf("run %d: %d pixels of its colour", i, n)
		}
	}
	for _, v := range []struct {
		runs []*Run
		o    Options
		want []string
	}{
		{runs, Options{X: "tokens"}, []string{"first, 200 steps", "second, 100 steps", "Loss", "nats per token", "thousand tokens", "Codes flipped by a step", "band:"}},
		{runs[:1], Options{X: "time"}, []string{"layer 0", "layer 2", "minutes", "In the dead zone", "% of weights"}},
		{runs[:1], Options{X: "epoch", Panels: []string{"norm"}, Smooth: -1, From: 3}, []string{"epochs", "Gradient norm"}},
	} {
		pic, err := Draw(v.runs, v.o, "svg")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := pic.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		for _, w := range v.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%+v: no %q in the SVG", v.o, w)
			}
		}
		for d := xml.NewDecoder(&b); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "not the folder of a training run") {
		t.Errorf("a folder of something else: %v", err)
	}
	runs := openAll(t, folder(t, "short", 10, 1))
	for want, o := range map[string]Options{
		"no panel is called": {Panels: []string{"mood"}}, "no run has values": {Panels: []string{"dead"}},
		"horizontal axis": {X: "mood"}, "pixels": {Width: 3},
	} {
		if _, err := Draw(runs, o, "png"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := Write("x.gif", runs, Options{}); err == nil || !strings.Contains(err.Error(), ".png or .svg") {
		t.Errorf("a GIF: %v", err)
	}
	empty := openAll(t, folder(t, "empty", 0, 1))
	if _, err := Draw(empty, Options{}, "png"); err == nil || !strings.Contains(err.Error(), "no steps yet") {
		t.Errorf("a run without steps: %v", err)
	}
	same := []string{folder(t, "same", 5, 1), folder(t, "same", 5, 1)}
	if two := openAll(t, same...); two[0].Name == two[1].Name {
		t.Errorf("both are called %s", two[0].Name)
	}
}

// TestSmooth: a constant stays, noise shrinks, and a straight line is not
// delayed in its middle. Thinning keeps the extremes.
func TestSmooth(t *testing.T) {
	var flat, ramp []point
	for i := range 1001 {
		flat = append(flat, point{float64(i), 5 + math.Mod(float64(i), 2) - 0.5})
		ramp = append(ramp, point{float64(i), float64(i)})
	}
	for _, p := range smooth(flat, 20)[50:950] {
		if math.Abs(p.y-5) > 0.05 {
			t.Fatalf("%v", p)
		}
	}
	if p := smooth(ramp, 20)[500]; math.Abs(p.y-500) > 1e-6 || p.x != 500 {
		t.Errorf("the middle of a line is %v", p)
	}
	flat[777].y, flat[333].y = 90, -90
	thinned := thin(flat, 100)
	low, high := math.Inf(1), math.Inf(-1)
	for i, p := range thinned {
		low, high = min(low, p.y), max(high, p.y)
		if i > 0 && p.x <= thinned[i-1].x {
			t.Fatal("out of order")
		}
	}
	if len(thinned) > 100 || low != -90 || high != 90 {
		t.Errorf("%d points, %v to %v", len(thinned), low, high)
	}
}

func TestTicks(t *testing.T) {
	labels := func(tk plot.Ticker, low, high float64) string {
		var s []string
		for _, tick := range tk.Ticks(low, high) {
			if tick.Label != "" {
				s = append(s, tick.Label)
			}
		}
		return strings.Join(s, " ")
	}
	for _, v := range []struct {
		tk        plot.Ticker
		low, high float64
		want      string
	}{
		{linearTicks{}, 0, 300, "0 50 100 150 200 250 300"},
		{linearTicks{}, -0.02, 0.031, "−0.02 −0.01 0.00 0.01 0.02 0.03"},
		{linearTicks{}, 5, 5, "5.0"},
		{logTicks{}, 0.004, 3, "0.01 0.1 1"},
		{logTicks{}, 2, 30, "2 5 10 20"},
	} {
		if got := labels(v.tk, v.low, v.high); got != v.want {
			t.Errorf("%v to %v: %q, want %q", v.low, v.high, got, v.want)
		}
	}
}
