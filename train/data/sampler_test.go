package data

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPermutation(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 16, 17, 100, 1023, 1024, 1025, 70000} {
		seen := make([]bool, n)
		p := newPermutation(n, mix(uint64(n)))
		for i := range n {
			k := p.at(i)
			if k < 0 || k >= n || seen[k] {
				t.Fatalf("n=%d: %d maps to %d", n, i, k)
			}
			seen[k] = true
		}
	}
	same := 0
	p, q := newPermutation(1000, 1), newPermutation(1000, 2)
	for i := range 1000 {
		if p.at(i) == q.at(i) {
			same++
		}
	}
	if same > 20 {
		t.Errorf("two keys agree at %d of 1000 places", same)
	}
}

func counting(n int) *Stream {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i)
	}
	return stream(ids...)
}

// TestSamplerVisitsEverything checks that an epoch holds each window once, that
// epochs differ, and that a sampler started anywhere goes on the same.
func TestSamplerVisitsEverything(t *testing.T) {
	const window = 8
	s := counting(8*50 + 3)
	layout := Layout{Separator: 60000}
	full, err := NewSampler(s, layout, window, 7, Position{})
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatch(3, window)
	var batches [][]int32
	var positions []Position
	visited := map[int]map[int32]int{} // epoch, first token, times
	for range 60 {
		positions = append(positions, full.Position())
		at := full.Position()
		full.Next(b)
		batches = append(batches, slices.Clone(b.Tokens))
		for r := range b.Rows {
			if at.Index == full.order.n && at.Epoch == full.at.Epoch { // the last window was taken
				t.Fatal("position beyond the epoch")
			}
			row := b.Tokens[r*window : (r+1)*window]
			for i, id := range row {
				if id != row[0]+int32(i) || b.Targets[r*window+i] != id+1 {
					t.Fatalf("row %v, targets %v", row, b.Targets)
				}
			}
			windows := newEpoch(t, s, layout, window, at.Epoch)
			if at.Index == windows {
				at = Position{Epoch: at.Epoch + 1}
			}
			if visited[at.Epoch] == nil {
				visited[at.Epoch] = map[int32]int{}
			}
			visited[at.Epoch][row[0]]++
			at.Index++
		}
	}
	if len(visited) < 3 {
		t.Fatalf("%d epochs", len(visited))
	}
	for epoch := range 2 {
		if len(visited[epoch]) != newEpoch(t, s, layout, window, epoch) {
			t.Errorf("epoch %d visits %d windows", epoch, len(visited[epoch]))
		}
		for first, n := range visited[epoch] {
			if n != 1 {
				t.Errorf("epoch %d: the window at %d comes %d times", epoch, first, n)
			}
		}
	}
	if cmp.Equal(batches[:8], batches[17:25]) {
		t.Error("epochs repeat one order")
	}
	for _, i := range []int{1, 16, 17, 33, 59} {
		p, err := NewSampler(s, layout, window, 7, positions[i])
		if err != nil {
			t.Fatal(err)
		}
		for j := i; j < len(batches); j++ {
			p.Next(b)
			if d := cmp.Diff(batches[j], b.Tokens); d != "" {
				t.Fatalf("resumed at %d, batch %d: %s", i, j, d)
			}
		}
	}
	other, err := NewSampler(s, layout, window, 8, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if other.Next(b); cmp.Equal(batches[0], b.Tokens) {
		t.Error("the seed makes no difference")
	}
	for _, bad := range []Position{{0, -1}, {-1, 0}, {0, 1000}} {
		if _, err := NewSampler(s, layout, window, 7, bad); err == nil {
			t.Errorf("position %+v is accepted", bad)
		}
	}
	if _, err := NewSampler(counting(window), layout, window, 7, Position{}); err == nil {
		t.Error("text without one window is accepted")
	}
	if p, err := NewSampler(counting(window+1), layout, window, 7, Position{}); err != nil || p.Windows() != 1 {
		t.Errorf("text of one window: %v", err)
	}
}

func newEpoch(t *testing.T, s *Stream, l Layout, window, epoch int) int {
	t.Helper()
	p, err := NewSampler(s, l, window, 7, Position{Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	return p.Windows()
}

// TestFill checks sequences, positions, targets and bytes of a row.
func TestFill(t *testing.T) {
	s := stream(9, 1, 2, 9, 3, 9, 4, 5)
	l := Layout{Separator: 9, Lengths: []uint16{0, 1, 2, 3, 4, 5, 0, 0, 0, 0}}
	b := NewBatch(2, 4)
	b.Reset()
	b.Fill(0, s, 1, 0, &l)
	b.Fill(1, s, 5, 1, &l)
	want := Batch{
		Tokens: []int32{1, 2, 9, 3, 9, 4, 5, 9}, Targets: []int32{2, 9, 3, 9, IgnoreTarget, 5, IgnoreTarget, IgnoreTarget},
		Pos: []int32{0, 1, 0, 1, 0, 1, 2, 0}, Seq: []int32{0, 0, 2, 2, 4, 4, 4, 7}, Rows: 2, Window: 4,
		Counted: 5, Bytes: 2 + 0 + 3 + 0 + 5,
	}
	got := *b
	got.ids = nil
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Batch{})); d != "" {
		t.Error(d)
	}
	l.Join = true
	b.Fill(0, s, 1, 0, &l)
	if d := cmp.Diff([]int32{0, 1, 2, 3}, b.Pos[:4]); d != "" || b.Seq[3] != b.Seq[0] {
		t.Errorf("joined: %s %v", d, b.Seq)
	}
}

// TestValidationCovers checks that each token but the first is a target once,
// with and without overlap.
func TestValidationCovers(t *testing.T) {
	for n := 2; n < 40; n++ {
		for window := 2; window < 9; window++ {
			for overlap := range window {
				s := counting(n)
				v := NewValidation(s, Layout{Separator: 60000}, window, overlap, 0)
				b := NewBatch(3, window)
				seen := map[int32]int{}
				count := 0
				for i := range v.Batches(3) {
					v.Fill(i, b)
					count += b.Counted
					for _, id := range b.Targets {
						if id != IgnoreTarget {
							seen[id]++
						}
					}
				}
				if len(seen) != n-1 || count != n-1 {
					t.Fatalf("%d tokens, window %d, overlap %d: %d targets, %d different", n, window, overlap, count, len(seen))
				}
			}
		}
	}
	v := NewValidation(counting(1000), Layout{}, 10, 0, 7)
	if v.Batches(3) != 3 || v.Batches(7) != 1 || v.starts[0] != 0 || v.starts[6] < 800 {
		t.Errorf("limited to %v", v.starts)
	}
}
