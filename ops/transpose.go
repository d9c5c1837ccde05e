package ops

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// TransposeAttrs lists the axes of x in their new order: "1 0" for a matrix.
type TransposeAttrs struct{ Perm string }

// TransposeOp reorders axes.
var TransposeOp = graph.Define(graph.Def[TransposeAttrs]{
	Name: "transpose", Doc: "x with its axes in another order", In: "x", Out: "y",
	BF16: "x -> y",
	Infer: func(a TransposeAttrs, in []graph.Type) ([]graph.Type, error) {
		x := in[0]
		if err := Check(in, F32("x", -1)); err != nil {
			return nil, err
		}
		perm, err := a.axes(x.Rank())
		if err != nil {
			return nil, err
		}
		y := graph.Type{Elem: x.Elem}
		for _, i := range perm {
			y.Shape = append(y.Shape, x.Shape[i])
		}
		return one(y), nil
	},
	Ref: func(a TransposeAttrs, in, out []graph.Tensor) error {
		perm, err := a.axes(len(in[0].Dims))
		if err != nil {
			return err
		}
		permute(out[0].F32(), in[0].F32(), in[0].Dims, perm)
		return nil
	},
	Grad: func(a TransposeAttrs, c *graph.GradCtx) ([]graph.Value, error) {
		perm, err := a.axes(c.In[0].Type().Rank())
		if err != nil {
			return nil, err
		}
		back := make([]int, len(perm))
		for i, p := range perm {
			back[p] = i
		}
		return []graph.Value{c.Self(permAttrs(back), c.DOut[0])}, nil
	},
})

// Transpose returns x with the given order of its axes; none reverses them.
func Transpose(x graph.Value, perm ...int) graph.Value {
	if len(perm) == 0 {
		for i := x.Type().Rank() - 1; i >= 0; i-- {
			perm = append(perm, i)
		}
	}
	return TransposeOp.One(permAttrs(perm), x)
}

// IsMatrix reports whether a transposes a matrix.
func (a TransposeAttrs) IsMatrix() bool { return a.Perm == "1 0" }

func permAttrs(perm []int) TransposeAttrs {
	var s []string
	for _, p := range perm {
		s = append(s, strconv.Itoa(p))
	}
	return TransposeAttrs{strings.Join(s, " ")}
}

// axes parses the permutation of rank axes.
func (a TransposeAttrs) axes(rank int) ([]int, error) {
	words := strings.Fields(a.Perm)
	perm := make([]int, len(words))
	seen := make([]bool, rank)
	ok := len(words) == rank
	for i, w := range words {
		p, err := strconv.Atoi(w)
		if ok = ok && err == nil && p >= 0 && p < rank && !seen[p]; !ok {
			break
		}
		perm[i], seen[p] = p, true
	}
	if !ok {
		return nil, fmt.Errorf("perm %q is no order of %d axes", a.Perm, rank)
	}
	return perm, nil
}

// permute copies x, with extents dims, to y with the axes in the order perm.
func permute(y, x []float32, dims, perm []int) {
	if len(y) == 0 {
		return
	}
	if len(perm) == 0 {
		copy(y, x)
		return
	}
	strides := make([]int, len(dims))
	for i, s := len(dims)-1, 1; i >= 0; i-- {
		strides[i] = s
		s *= dims[i]
	}
	last := perm[len(perm)-1]
	n, step := dims[last], strides[last]
	at := make([]int, len(perm)) // coordinates in y
	from := 0
	for o := 0; o < len(y); o += n {
		row := y[o : o+n]
		for j, i := 0, from; j < n; j, i = j+1, i+step {
			row[j] = x[i]
		}
		for i := len(perm) - 2; i >= 0; i-- {
			at[i]++
			from += strides[perm[i]]
			if at[i] < dims[perm[i]] {
				break
			}
			from -= at[i] * strides[perm[i]]
			at[i] = 0
		}
	}
}
