package curves

import "math"

// smooth is the mean of two exponential moving averages that forget by half over
// half points, one from either end, so that the curve does not lag behind. Each
// is corrected for its start at nothing as Adam's moments are.
func smooth(in []point, half float64) []point {
	if half <= 0 {
		return in
	}
	keep := math.Exp2(-1 / half)
	out := make([]point, len(in))
	for _, back := range []bool{false, true} {
		sum, weight := 0.0, 0.0
		for i := range in {
			if back {
				i = len(in) - 1 - i
			}
			sum, weight = keep*sum+(1-keep)*in[i].y, keep*weight+(1-keep)
			out[i].x = in[i].x
			out[i].y += sum / weight / 2
		}
	}
	return out
}

// thin keeps at most about n points, of each stretch the lowest and the highest,
// so that the picture stays that of all points.
func thin(in []point, n int) []point {
	if len(in) <= n {
		return in
	}
	var out []point
	stretches := max(n/2, 1)
	for s := range stretches {
		part := in[s*len(in)/stretches : (s+1)*len(in)/stretches]
		low, high := 0, 0
		for i, p := range part {
			if p.y < part[low].y {
				low = i
			}
			if p.y > part[high].y {
				high = i
			}
		}
		out = append(out, part[min(low, high)])
		if low != high {
			out = append(out, part[max(low, high)])
		}
	}
	return out
}
