package ops

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
)

// EMAAttrs holds the share of the old average that stays at each step.
type EMAAttrs struct{ Decay float64 }

// EMAOp is an exponential moving average in place: e = decay·e + (1−decay)·p
// (Polyak and Juditsky 1992; for weights, Tarvainen and Valpola 2017). It is
// computed as e + (1−decay)·(p − e), which keeps e exactly where p does not move.
var EMAOp = graph.Define(graph.Def[EMAAttrs]{
	Name: "ema", Doc: "moving average of p in place", In: "e, p", Out: "e",
	Updates: []graph.Update{{In: 0, Out: 0}},
	Infer: func(a EMAAttrs, in []graph.Type) ([]graph.Type, error) {
		if err := Check(in, F32("e", -1), F32("p", -1)); err != nil {
			return nil, err
		}
		if !(a.Decay >= 0 && a.Decay < 1) {
			return nil, fmt.Errorf("decay is %v, want 0 to below 1", a.Decay)
		}
		return one(in[0]), Same("e", in[0], "p", in[1])
	},
	Ref: func(a EMAAttrs, in, out []graph.Tensor) error {
		copy(out[0].F32(), in[0].F32())
		a.Update(out[0].F32(), in[1].F32())
		return nil
	},
})

// Update is EMAOp on slices of one length.
func (a EMAAttrs) Update(e, p []float32) {
	move := float32(1 - a.Decay)
	p = p[:len(e)]
	for i, v := range e {
		e[i] = v + float32(move*(p[i]-v))
	}
}
