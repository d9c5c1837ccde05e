package cuda

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/conformance"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/bitlinear"
	"github.com/trit-ml/trit/ops/ternary"
)

// size3 are the extents of an example: tokens, outputs, inputs.
type size3 struct{ m, n, k int }

// example makes random operands and attributes for an op.
func example(op *graph.OpDef, z size3, rng *rand.Rand) (attrs any, in []graph.Tensor) {
	f32 := func(dims ...int) graph.Tensor {
		t := graph.NewTensor(graph.F32, dims...)
		for i := range t.F32() {
			t.F32()[i] = float32(rng.NormFloat64())
		}
		return t
	}
	switch op {
	case ops.RMSNormOp.OpDef:
		return ops.NormAttrs{Eps: 1e-5}, []graph.Tensor{f32(z.m, z.k), f32(z.k)}
	case ops.QuantActOp.OpDef:
		return ops.Int8, []graph.Tensor{f32(z.m, z.k)}
	case bitlinear.SubLNQuantOp.OpDef:
		return bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}, []graph.Tensor{f32(z.m, z.k), f32(z.k)}
	case ops.AddOp.OpDef:
		return graph.None{}, []graph.Tensor{f32(z.m, z.n), f32(z.m, z.n)}
	case bitlinear.RescaleOp.OpDef:
		acc := graph.NewTensor(graph.I32, z.m, z.n)
		for i := range acc.I32() {
			acc.I32()[i] = rng.Int32N(1<<21) - 1<<20
		}
		s := graph.NewTensor(graph.F32, z.m, 1)
		for i := range s.F32() {
			s.F32()[i] = 1 + 100*rng.Float32()
		}
		return graph.None{}, []graph.Tensor{acc, s, graph.FromF32([]float32{rng.Float32()})}
	case ternary.MatMulOp.OpDef:
		q, t := graph.NewTensor(graph.I8, z.m, z.k), graph.NewTensor(graph.Tern, z.n, z.k)
		for i := range q.I8() {
			q.I8()[i] = int8(rng.IntN(256) - 128)
		}
		for i := range t.I8() {
			t.I8()[i] = int8(rng.IntN(3) - 1)
		}
		return graph.None{}, []graph.Tensor{q, t}
	}
	c := conformance.Cases(op)[0]
	return c.Attrs, c.In
}

// callOf is an unbound call.
func callOf(op *graph.OpDef, attrs any, in, out []graph.Tensor) *devices.Call {
	c := &devices.Call{Op: op, Attrs: attrs, Where: "test"}
	for _, t := range in {
		c.In = append(c.In, devices.Operand{Elem: t.Elem, Dims: t.Dims})
	}
	for _, t := range out {
		c.Out = append(c.Out, devices.Operand{Elem: t.Elem, Dims: t.Dims})
	}
	return c
}

// outTypes makes zeroed results for concrete operands.
func outTypes(op *graph.OpDef, attrs any, in []graph.Tensor) ([]graph.Tensor, error) {
	types := make([]graph.Type, len(in))
	for i, t := range in {
		types[i] = t.Type()
	}
	res, err := op.InferTypes(attrs, types)
	if err != nil {
		return nil, err
	}
	out := make([]graph.Tensor, len(res))
	for i, t := range res {
		dims, err := t.Shape.Eval(nil)
		if err != nil {
			return nil, err
		}
		out[i] = graph.NewTensor(t.Elem, dims...)
	}
	return out, nil
}

// weights are the chain's parameters on the host.
type weights struct{ g, t, gamma graph.Tensor }

func newWeights(z size3, rng *rand.Rand) weights {
	_, norm := example(ops.RMSNormOp.OpDef, z, rng)
	_, mm := example(ternary.MatMulOp.OpDef, z, rng)
	return weights{norm[1], mm[1], graph.FromF32([]float32{0.37})}
}

// chainAttrs are those of fused.subln_quant in the chain.
var chainAttrs = bitlinear.NormQuantAttrs{Eps: 1e-5, Bits: 8, Round: "even"}

// exampleCalls are unbound calls of the kernel's op that it accepts, with the
// layouts it asks for.
func exampleCalls(k devices.Kernel) []*devices.Call {
	var calls []*devices.Call
	for _, ex := range conformance.Cases(k.Op) {
		out, err := outTypes(k.Op, ex.Attrs, ex.In)
		if err != nil {
			continue // a body may mix bf16 with f32
		}
		c := callOf(k.Op, ex.Attrs, ex.In, out)
		empty := func(x graph.Tensor) bool { return len(x.Data) == 0 }
		if slices.ContainsFunc(ex.In, empty) || empty(out[0]) || k.Fit(c) != nil {
			continue
		}
		for i := range c.In {
			if i < len(k.Layouts) {
				c.In[i].Layout = k.Layouts[i]
			}
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		panic("no case of " + k.Op.Name + " is accepted")
	}
	return calls
}

// exampleCall is the first of exampleCalls.
func exampleCall(k devices.Kernel) *devices.Call { return exampleCalls(k)[0] }

func matmulCall(m, n, k int) *devices.Call {
	return &devices.Call{
		Op: ternary.MatMulOp.OpDef, Attrs: graph.None{}, Where: "test",
		In:  []devices.Operand{{Elem: graph.I8, Dims: []int{m, k}}, {Elem: graph.Tern, Dims: []int{n, k}}},
		Out: []devices.Operand{{Elem: graph.I32, Dims: []int{m, n}}},
	}
}

// TestChoiceWithoutGPU chooses kernels for a GPU that is not there.
func TestChoiceWithoutGPU(t *testing.T) {
	d, err := Offline("sm_80")
	if err != nil {
		t.Fatal(err)
	}
	reg := devices.NewRegistry(d)
	for _, tt := range []struct {
		m    int
		want string
	}{{1, "ternary_matmul.i2x64.m1.dp4a"}, {64, "ternary.matmul.i2x64.mma_"}, {4096, "ternary.matmul.i2x64.mma_128x"}} {
		k, rejected, err := reg.Choose(matmulCall(tt.m, 2560, 6912))
		if err != nil || !strings.HasPrefix(k.Name, tt.want) || len(rejected) == 0 {
			t.Errorf("M=%d: %s, %v, %v; want %s", tt.m, k.Name, rejected, err, tt.want)
		}
	}
	// Rows too long for eight of them in shared memory, and for one.
	if k, _, err := reg.Choose(matmulCall(64, 16, 60000)); err != nil || k.Name != "ternary_matmul.i2x64.m1.dp4a" {
		t.Errorf("K=60000: %s, %v", k.Name, err)
	}
	var none *devices.NoKernelError
	if _, _, err := reg.Choose(matmulCall(1, 16, 1<<18)); !errors.As(err, &none) {
		t.Errorf("K=2^18: %v", err)
	}
	if !d.Has("sm_80") || d.Has("sm_86") || d.Name() != "cuda:sm_80" {
		t.Errorf("features of %s: %v", d.Name(), d.features)
	}
	if _, err := d.Alloc(16); !errors.Is(err, ErrOffline) {
		t.Errorf("Alloc: %v", err)
	}
	if _, err := d.NewQueue(); !errors.Is(err, ErrOffline) {
		t.Errorf("NewQueue: %v", err)
	}
	if _, err := Offline("sm_61"); err == nil || !strings.Contains(err.Error(), "sm_80, sm_86") {
		t.Errorf("unknown architecture: %v", err)
	}
}

// pack is the layout of kernels/ternary.cuh in Go.
func pack(codes []int8, n, k int) []byte {
	out := make([]byte, n*units(k)*unitBytes)
	for r := range n {
		for e := range k {
			in := e % 64
			word, i, j := in/16, in%16/4, in%4
			out[(r*units(k)+e/64)*unitBytes+4*word+j] |= byte(codes[r*k+e]&3) << (6 - 2*i)
		}
	}
	return out
}

// TestLayoutIdentity shows what the kernels rely on: shifting a word and
// masking leaves four weights times 64 as signed bytes.
func TestLayoutIdentity(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	codes := make([]int8, 64)
	for i := range codes {
		codes[i] = int8(rng.IntN(3) - 1)
	}
	p := pack(codes, 1, 64)
	for e, want := range codes {
		word, i, j := e/16, e%16/4, e%4
		w := uint32(p[4*word]) | uint32(p[4*word+1])<<8 | uint32(p[4*word+2])<<16 | uint32(p[4*word+3])<<24
		got := int8(w << (2 * i) & 0xc0c0c0c0 >> (8 * j))
		if int(got) != 64*int(want) {
			t.Errorf("element %d: %d, want %d", e, got, 64*int(want))
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	if _, err := List(); err != nil {
		fixes := []string{"-tags cuda", "install the driver", "choose another device"}
		found := false
		for _, f := range fixes {
			found = found || strings.Contains(err.Error(), f)
		}
		if !found {
			t.Errorf("List: %v", err)
		}
		if _, e := Open(0); e == nil || !strings.Contains(e.Error(), "cuda:0: ") {
			t.Errorf("Open: %v", e)
		}
	}
	d, err := Offline("sm_90")
	if err != nil {
		t.Fatal(err)
	}
	k := d.Kernels()[0]
	c := exampleCall(k)
	if _, err := k.Bind(c); err == nil || !strings.Contains(err.Error(), "argument 0") {
		t.Errorf("binding without buffers: %v", err)
	}
}
