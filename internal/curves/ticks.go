package curves

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// label writes a tick's value with as many digits as ticks step apart need, and
// a true minus sign.
func label(v, step float64) string {
	digits := 0
	if step < 1 {
		digits = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	var text string
	if digits > 5 || math.Abs(v) >= 1e7 {
		text = strconv.FormatFloat(v, 'g', 3, 64)
	} else {
		text = strconv.FormatFloat(v, 'f', digits, 64)
	}
	if text[0] == '-' {
		return "−" + text[1:]
	}
	return text
}

// linearTicks are some five ticks at multiples of 1, 2 or 5 times a power of
// ten.
type linearTicks struct{}

// Ticks implements plot.Ticker.
func (linearTicks) Ticks(low, high float64) []plot.Tick {
	span := high - low
	if !(span > 0) || math.IsInf(span, 0) {
		return []plot.Tick{{Value: low, Label: label(low, max(math.Abs(low), 1e-9)/10)}}
	}
	step := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if span/(step*m) <= 6.5 {
			step *= m
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		v := i * step
		if i == 0 {
			v = 0
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: label(v, step)})
	}
	return ticks
}

// logTicks are ticks at 1, 2 and 5 times powers of ten, at powers of ten alone
// where there are many of them.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(low, high float64) []plot.Tick {
	if !(low > 0) || !(high > low) {
		return linearTicks{}.Ticks(low, high)
	}
	decades := math.Log10(high / low)
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			t := plot.Tick{Value: v} // a small one, without a label
			if m == 1 && (decades < 6 || math.Mod(e, 2) == 0) || decades < 2.2 && (m == 2 || m == 5) || decades < 0.7 {
				t.Label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}
