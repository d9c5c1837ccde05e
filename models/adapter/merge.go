package adapter

import (
	"context"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/passes"
)

// Merged is a model with an adapter in its weights.
type Merged struct {
	Model *checkpoint.Model
	// Codes of the adapted projections, and how many of them the adapter changed.
	Codes, Changed int
	// Lost is how much of the adapter ternary weights cannot express: the norm
	// of what is missing over that of the adapter's product, over all adapted
	// projections. 0 is nothing; near 1, hardly any of the adapter is left; above
	// 1, rounding adds more than the adapter does.
	Lost float64
}

// Merge adds an adapter's product to the weights of a model. What a ternary model
// computes with is ternary, so the sum is made ternary again and most of a small
// adapter is lost: its product is far smaller than the step between two codes. To
// keep it, run the model with the adapter beside it, or train on from the merged
// masters.
//
// Masters stay masters: the product is added to them, and the model's quantizer
// applies. Codes stay codes: the sum of code·γ and the product is rounded to the
// nearest multiple of γ, and a new γ is fitted to it by least squares (the absmean
// quantizer does not reproduce the γ of weights that are ternary already).
//
// The model must stay open while the result is used, and is closed with it.
func Merge(ctx context.Context, m *checkpoint.Model, a *Adapter) (*Merged, error) {
	out := &Merged{}
	var entries []checkpoint.Entry
	var missing, product float64
	used := 0
	for _, s := range m.Specs() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		an, _ := passes.LoRANames(s.Name)
		if _, ok := a.Tensors[an]; !ok {
			continue
		}
		used += 2
		l, err := m.Linear(s.Name)
		if err != nil {
			return nil, fmt.Errorf("adapter %s: %w", a.dir, err)
		}
		r, err := a.add(l)
		if err != nil {
			return nil, err
		}
		for i, d := range r.product {
			miss := float64(r.codes[i])*float64(r.scale) - float64(r.old[i])*float64(r.gamma) - float64(d)
			missing += miss * miss
			product += float64(d) * float64(d)
			if r.codes[i] != r.old[i] {
				out.Changed++
			}
		}
		out.Codes += len(r.codes)
		// One projection is in memory at a time: it is computed again to be written.
		entries = append(entries, checkpoint.Entry{Name: s.Name, Elem: r.weight.Elem, Gamma: r.scale, Load: func() (graph.Tensor, error) {
			r, err := a.add(l)
			return r.weight, err
		}})
	}
	if used != len(a.Tensors) {
		return nil, fmt.Errorf("adapter %s: %d of its %d tensors fit no projection of the model", a.dir, len(a.Tensors)-used, len(a.Tensors))
	}
	if product > 0 {
		out.Lost = math.Sqrt(missing / product)
	}
	var err error
	out.Model, err = checkpoint.Replace(m, entries)
	return out, err
}

// sum is a projection with an adapter added.
type sum struct {
	weight     graph.Tensor // masters or codes, as the projection had
	codes, old []int8       // what the model computes with, and did before
	scale      float32      // of codes
	gamma      float32      // of old
	product    []float32
}

func (a *Adapter) add(l checkpoint.Linear) (r sum, err error) {
	if r.product, err = a.product(l.Spec); err != nil {
		return r, err
	}
	old, gamma, err := l.Ternary()
	if err != nil {
		return r, err
	}
	r.old, r.gamma = old.I8(), gamma
	if l.Form == checkpoint.Masters {
		w, err := l.Masters()
		if err == nil {
			w, err = w.ToF32()
		}
		if err != nil {
			return r, err
		}
		r.weight = graph.NewTensor(graph.F32, l.Dims...)
		for i, v := range w.F32() {
			r.weight.F32()[i] = v + r.product[i]
		}
		r.codes = make([]int8, len(r.old))
		r.scale, err = checkpoint.Absmean(r.weight, r.codes)
		return r, err
	}
	r.weight = graph.NewTensor(graph.Tern, l.Dims...)
	r.codes, r.scale = r.weight.I8(), gamma
	var dot, square float64
	for i, c := range r.old {
		v := float64(c)*float64(gamma) + float64(r.product[i])
		if gamma > 0 {
			r.codes[i] = int8(min(max(math.RoundToEven(v/float64(gamma)), -1), 1))
		}
		dot += v * float64(r.codes[i])
		square += float64(r.codes[i]) * float64(r.codes[i])
	}
	if dot > 0 {
		r.scale = float32(dot / square)
	}
	return r, nil
}

// product is scale·B·A for a projection.
func (a *Adapter) product(s checkpoint.Spec) ([]float32, error) {
	an, bn := passes.LoRANames(s.Name)
	x, y := a.Tensors[an], a.Tensors[bn]
	if y.Dims[0] != s.Dims[0] || x.Dims[1] != s.Dims[1] {
		return nil, fmt.Errorf("adapter %s: %s and %s have shapes %v and %v, the model's weight %v", a.dir, an, bn, x.Dims, y.Dims, s.Dims)
	}
	rows, cols := s.Dims[0], s.Dims[1]
	out, row := make([]float32, rows*cols), make([]float64, cols)
	for i := range rows {
		clear(row)
		for k := range a.Rank {
			b := float64(y.F32()[i*a.Rank+k])
			for j, v := range x.F32()[k*cols : (k+1)*cols] {
				row[j] += b * float64(v)
			}
		}
		for j, v := range row {
			out[i*cols+j] = float32(v * a.Scale())
		}
	}
	return out, nil
}
