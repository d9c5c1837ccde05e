package train

import (
	"fmt"

	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/models/checkpoint"
)

// Shape names an architecture by a preset and what differs from it. Zero fields
// are the preset's.
type Shape struct {
	Preset  string `json:"preset" flag:"preset" help:"Size to start from: base, micro, mini, nano or small."`
	Hidden  int    `json:"hidden,omitempty" flag:"hidden" help:"Width; 0: the preset's."`
	FFN     int    `json:"ffn,omitempty" flag:"ffn" help:"Feed-forward width; 0: the preset's."`
	Layers  int    `json:"layers,omitempty" flag:"layers" help:"Layers; 0: the preset's."`
	Heads   int    `json:"heads,omitempty" flag:"heads" help:"Query heads; 0: the preset's."`
	KVHeads int    `json:"kv_heads,omitempty" flag:"kv-heads" help:"Key/value heads; 0: the preset's."`
}

// model is the architecture, for windows of up to context tokens.
func (s *Shape) model(context int) (checkpoint.Config, error) {
	m, err := bitnet158.Preset(s.Preset)
	if err != nil {
		return m, err
	}
	if m.Elem.Size() != 4 {
		return m, fmt.Errorf("preset %s is a published model, too large to train from scratch here; take another", s.Preset)
	}
	for _, o := range []struct{ given, field *int }{
		{&s.Hidden, &m.Hidden}, {&s.FFN, &m.FFN}, {&s.Layers, &m.Layers}, {&s.Heads, &m.Heads}, {&s.KVHeads, &m.KVHeads},
	} {
		if *o.given != 0 {
			*o.field = *o.given
		}
	}
	switch {
	case m.Hidden < 1 || m.Heads < 1 || m.KVHeads < 1:
		return m, fmt.Errorf("a width of %d with %d query and %d key/value heads: want at least 1 of each", m.Hidden, m.Heads, m.KVHeads)
	case m.Hidden%m.Heads != 0 || m.Hidden/m.Heads%2 != 0:
		return m, fmt.Errorf("a width of %d is no even width for each of %d heads, which rotary positions need: take a multiple of %d", m.Hidden, m.Heads, 2*m.Heads)
	case m.Heads%m.KVHeads != 0:
		return m, fmt.Errorf("%d query heads cannot share %d key/value heads evenly: set kv_heads to a divisor of %d", m.Heads, m.KVHeads, m.Heads)
	}
	m.HeadDim = m.Hidden / m.Heads
	m.Context = context // what it is trained for
	return m, nil
}
