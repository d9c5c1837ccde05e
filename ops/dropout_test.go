package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// TestPhilox compares with the known answers that come with Random123.
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		key  [2]uint32
		ctr  [4]uint32
		want string
	}{
		{want: "6627e8d5 e169c58d bc57ac4c 9b00dbd8"},
		{[2]uint32{^uint32(0), ^uint32(0)}, [4]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}, "408f276d 41c83b0e a20bc7c6 6d5451fd"},
		{[2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, "d16cfe09 94fdcceb 5001e420 24126ea1"},
	} {
		w := ops.Philox(c.key, c.ctr)
		if got := fmt.Sprintf("%08x %08x %08x %08x", w[0], w[1], w[2], w[3]); got != c.want {
			t.Errorf("%x %x: %s, want %s", c.key, c.ctr, got, c.want)
		}
	}
}

// TestDropout: the share that is dropped, the scale of the rest, rows that do not
// depend on how they are cut, and other numbers for other steps, streams and seeds.
func TestDropout(t *testing.T) {
	const rows, width = 64, 203
	x := graph.NewTensor(graph.F32, rows, width)
	for i := range x.F32() {
		x.F32()[i] = 1
	}
	run := func(a ops.DropoutAttrs, x graph.Tensor, step, row int32) []float32 {
		y := graph.NewTensor(graph.F32, x.Dims...)
		if err := ops.DropoutOp.Run(a, []graph.Tensor{x, graph.FromI32([]int32{step, row}, 2)}, []graph.Tensor{y}); err != nil {
			t.Fatal(err)
		}
		return y.F32()
	}
	a := ops.DropoutAttrs{P: 0.2, Seed: 7, Stream: 3}
	y := run(a, x, 5, 0)
	zero := 0
	for _, v := range y {
		switch v {
		case 0:
			zero++
		case a.Scale():
		default:
			t.Fatalf("an element is %v", v)
		}
	}
	n := float64(rows * width)
	if share := float64(zero) / n; math.Abs(share-0.2) > 4*math.Sqrt(0.2*0.8/n) {
		t.Errorf("%g of the elements are dropped", share)
	}
	if math.Abs(float64(a.Scale())-1.25) > 1e-4 {
		t.Errorf("scale %v", a.Scale())
	}
	part := graph.Tensor{Elem: graph.F32, Dims: []int{8, width}, Data: x.Data[:8*width*4]}
	for i, v := range run(a, part, 5, 16) {
		if v != y[16*width+i] {
			t.Fatalf("row 16 and on alone: element %d is %v, in the batch %v", i, v, y[16*width+i])
		}
	}
	for name, z := range map[string][]float32{
		"step": run(a, x, 6, 0), "stream": run(ops.DropoutAttrs{P: 0.2, Seed: 7, Stream: 4}, x, 5, 0),
		"seed": run(ops.DropoutAttrs{P: 0.2, Seed: 7 + 1<<32, Stream: 3}, x, 5, 0),
	} {
		same := 0
		for i, v := range z {
			if (v == 0) == (y[i] == 0) {
				same++
			}
		}
		if want := 0.2*0.2 + 0.8*0.8; math.Abs(float64(same)/n-want) > 0.02 {
			t.Errorf("another %s: %g of the elements agree, want %g of independent masks", name, float64(same)/n, want)
		}
	}
	if z := run(ops.DropoutAttrs{}, x, 5, 0); z[0] != 1 || z[len(z)-1] != 1 {
		t.Error("p = 0 drops")
	}
}

// TestAttentionDropout: the masks of single probabilities, read off a product with
// unit vectors as values, are the definition's, for every head; they do not depend
// on how a batch is cut.
func TestAttentionDropout(t *testing.T) {
	const n, heads = 21, 2
	a := ops.AttentionDropoutAttrs{Heads: heads, KVHeads: 1, P: 0.4, Seed: 9, Stream: 5}
	run := func(row, n int) []float32 {
		q, k, v := graph.NewTensor(graph.F32, n, heads*n), graph.NewTensor(graph.F32, n, n), graph.NewTensor(graph.F32, n, n)
		seq, pos := graph.NewTensor(graph.I32, n), graph.NewTensor(graph.I32, n)
		for i := range n {
			pos.I32()[i], v.F32()[i*n+i] = int32(i), 1
		}
		o, lse := graph.NewTensor(graph.F32, n, heads*n), graph.NewTensor(graph.F32, n, heads)
		at := graph.FromI32([]int32{3, int32(row)}, 2)
		if err := ops.AttentionDropoutOp.Run(a, []graph.Tensor{q, k, v, at, seq, pos}, []graph.Tensor{o, lse}); err != nil {
			t.Fatal(err)
		}
		return o.F32()
	}
	for _, row := range []int{0, 3, 16} {
		o := run(row, n)
		for i := range n {
			for h := range heads {
				for j := range i + 1 {
					words := ops.Philox([2]uint32{9, 0}, [4]uint32{uint32(row + i), uint32(row+j) / 8, 5 + uint32(h+1)<<16, 3})
					word := words[(row+j)%8/2] >> ((row + j) % 2 * 16) & 0xffff
					want := a.Dropout().Scale() / float32(i+1)
					if float64(word) < 0.4*65536 {
						want = 0
					}
					if got := o[(i*heads+h)*n+j]; math.Abs(float64(got-want)) > 1e-6 {
						t.Fatalf("row %d, token %d, head %d, key %d: %v, want %v", row, i, h, j, got, want)
					}
				}
			}
		}
	}
}
