package data

// Validation is a fixed list of windows of a stream.
type Validation struct {
	s      *Stream
	layout Layout
	window int
	skip   int
	starts []int
}

// NewValidation covers a stream with windows. Every token but the first is a
// target once; all but the first window repeat overlap tokens in front as
// context. If that makes more than limit windows (limit > 0), limit of them are
// kept, evenly spread.
func NewValidation(s *Stream, layout Layout, window, overlap, limit int) *Validation {
	v := &Validation{s: s, layout: layout, window: window, skip: overlap}
	for at := 0; at+1 < s.Len(); at += window - overlap {
		if at > 0 && at+overlap+1 >= s.Len() {
			break // only context is left
		}
		v.starts = append(v.starts, at)
	}
	if n := len(v.starts); limit > 0 && n > limit {
		kept := make([]int, limit)
		for i := range kept {
			kept[i] = v.starts[i*n/limit]
		}
		v.starts = kept
	}
	return v
}

// Batches is how many batches of rows windows there are.
func (v *Validation) Batches(rows int) int { return (len(v.starts) + rows - 1) / rows }

// Fill sets b to batch i. Rows behind the last window have no targets.
func (v *Validation) Fill(i int, b *Batch) {
	b.Reset()
	for r := range b.Rows {
		at, skip := v.s.Len(), 0
		if k := i*b.Rows + r; k < len(v.starts) {
			at = v.starts[k]
			if at > 0 {
				skip = v.skip
			}
		}
		b.Fill(r, v.s, at, skip, &v.layout)
	}
}
