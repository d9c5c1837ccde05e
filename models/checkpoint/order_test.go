package checkpoint

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/gguf"
)

// trained makes a model in memory whose channels differ in importance, as
// those of trained models do: producers, consumers and norms agree on which
// channels are busy. With flat it has no such structure.
func trained(t *testing.T, rng *rand.Rand, flat bool) *Model {
	t.Helper()
	cfg := Config{
		ModelType: "bitnet", Vocab: 8, Hidden: 256, FFN: 512, Layers: 2, Heads: 4, KVHeads: 4, HeadDim: 64,
		Act: ReLU2, SubNorm: true, Tied: true, NormEps: 1e-5, Theta: 10000, BOS: -1, Pad: -1, Elem: graph.F32, Form: Ternary,
	}
	busy := func(n int) []float64 {
		p := make([]float64, n)
		for i := range p {
			p[i] = 0.5
			if !flat {
				p[i] = 0.2 + 0.6*rng.Float64()
			}
		}
		return p
	}
	residual, ffn, attn := busy(cfg.Hidden), busy(cfg.FFN), busy(cfg.Hidden)
	var entries []Entry
	for _, s := range cfg.Specs() {
		if !s.Linear {
			x := graph.NewTensor(graph.F32, s.Dims...)
			for i := range x.F32() {
				x.F32()[i] = 0.5 + rng.Float32()
				if strings.HasSuffix(s.Name, "layernorm.weight") && !flat {
					x.F32()[i] = float32(residual[i])
				}
			}
			entries = append(entries, EntryOf(s.Name, x, 0))
			continue
		}
		x := graph.NewTensor(graph.Tern, s.Dims...)
		for i := range x.I8() {
			r, c := i/s.Dims[1], i%s.Dims[1]
			var p float64
			switch {
			case strings.Contains(s.Name, "down"):
				p = ffn[c]
			case strings.Contains(s.Name, "gate"), strings.Contains(s.Name, "up_"):
				p = (ffn[r] + residual[c]) / 2
			case strings.Contains(s.Name, "o_proj"):
				p = attn[c]
			case strings.Contains(s.Name, "v_proj"):
				p = (attn[r] + residual[c]) / 2
			default:
				p = residual[c]
			}
			if rng.Float64() < p {
				x.I8()[i] = int8(2*rng.IntN(2) - 1)
			}
		}
		entries = append(entries, EntryOf(s.Name, x, 0.25))
	}
	m, err := New(cfg, entries)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// foreign rewrites a file of trit as another program would have written it: in
// some order, with some filler, without trit's key.
func foreign(t *testing.T, path string, order gguf.Order, fill func(tail []byte, scale []byte)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var kv []gguf.KV
	for _, e := range f.KV {
		if e.Key != orderKey {
			kv = append(kv, e)
		}
	}
	var entries []gguf.Entry
	for _, tensor := range f.Tensors {
		raw, err := f.Bytes(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if tensor.Type == gguf.I2_S {
			codes := make([]int8, tensor.Dims[0]*tensor.Dims[1])
			if _, err := gguf.UnpackI2S(codes, raw, gguf.OrderX86, tensor.Dims[1]); err != nil {
				t.Fatal(err)
			}
			raw = bytes.Clone(raw)
			packOrder(raw, codes, order, tensor.Dims[1])
			n := len(codes) / 4
			fill(raw[n+4:], raw[n:n+4])
		}
		entries = append(entries, gguf.Entry{Name: tensor.Name, Type: tensor.Type, Dims: tensor.Dims, Load: func() ([]byte, error) { return raw, nil }})
	}
	var buf bytes.Buffer
	if err := gguf.Write(&buf, kv, entries); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// packOrder restates the three orders value by value.
func packOrder(dst []byte, codes []int8, order gguf.Order, in int) {
	clear(dst[:len(codes)/4])
	for i, c := range codes {
		var at, field int
		switch order {
		case gguf.OrderX86:
			at, field = i/128*32+i%32, i%128/32
		case gguf.OrderARM:
			at, field = i/64*16+i%16, i%64/16
		case gguf.OrderRows:
			at, field = i/in/4*in+i%in, i/in%4
		}
		dst[at] |= byte(c+1) << (6 - 2*field)
	}
}

func TestI2SOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ctx := context.Background()
	garbage := func(tail, _ []byte) {
		for i := range tail {
			tail[i] = byte(rng.Uint32())
		}
	}
	zeros := func(tail, _ []byte) { clear(tail) }
	repeated := func(tail, scale []byte) { copy(tail, bytes.Repeat(scale, 7)) }
	for _, c := range []struct {
		name  string
		flat  bool
		order gguf.Order
		fill  func(tail, scale []byte)
		opts  []Option
		want  I2SOrder // I2SAuto: refused
	}{
		{"trained x86", false, gguf.OrderX86, garbage, nil, I2SX86},
		{"trained arm", false, gguf.OrderARM, garbage, nil, I2SARM},
		{"trained rows", false, gguf.OrderRows, garbage, nil, I2SRows},
		{"random x86", true, gguf.OrderX86, garbage, nil, I2SAuto},
		{"random arm", true, gguf.OrderARM, garbage, nil, I2SAuto},
		{"random rows", true, gguf.OrderRows, garbage, nil, I2SAuto},
		{"random, stated", true, gguf.OrderARM, garbage, []Option{WithI2SOrder(I2SARM)}, I2SARM},
		{"stated against evidence", false, gguf.OrderRows, repeated, []Option{WithI2SOrder(I2SRows)}, I2SRows},
		{"scale repeated", true, gguf.OrderX86, repeated, nil, I2SX86},
		{"zero filler", true, gguf.OrderX86, zeros, nil, I2SX86},
	} {
		m := trained(t, rng, c.flat)
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteGGUF(ctx, m, path, GGUFOptions{}); err != nil {
			t.Fatal(err)
		}
		if own := open(t, path); len(own.Warnings()) > 0 {
			t.Errorf("%s: own file: %v", c.name, own.Warnings())
		}
		foreign(t, path, c.order, c.fill)
		g, err := Open(path, c.opts...)
		if c.want == I2SAuto {
			if err == nil || !strings.Contains(err.Error(), "--i2s-order") {
				t.Errorf("%s: got %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := Verify(ctx, m, g); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if noted := len(g.Warnings()) == 1; noted == (c.opts != nil) {
			t.Errorf("%s: warnings %v", c.name, g.Warnings())
		}
		g.Close()
	}
}

func TestParseI2SOrder(t *testing.T) {
	for o := I2SAuto; o <= I2SRows; o++ {
		if got, err := ParseI2SOrder(o.String()); err != nil || got != o {
			t.Errorf("%v: %v, %v", o, got, err)
		}
	}
	if _, err := ParseI2SOrder("mips"); err == nil {
		t.Error("mips was accepted")
	}
}
