package docs

import (
	"context"
	"fmt"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
	"github.com/trit-ml/trit/runtime"
)

// model is an architecture that is not BitNet's: attention over a sliding
// window and a feed-forward layer without a gate, side by side on one norm.
func model(b *graph.Builder, tok layer.Tokens) graph.Value {
	var nn layer.Net
	x, table := nn.Embed(tok.IDs, "embed", 256, 64)
	x = layer.Repeat(x, "layers", 2, func(x graph.Value) graph.Value {
		n := nn.Norm(x, "norm", 1e-5)
		q, k, v := nn.BitLinear(n, "q", 64), nn.BitLinear(n, "k", 32), nn.BitLinear(n, "v", 32)
		a := ops.Attention(ops.RoPE(q, tok.Pos, 1e4, 16), ops.RoPE(k, tok.Pos, 1e4, 16), v, tok.Seq, tok.Pos, ops.AttentionAttrs{Heads: 4, KVHeads: 2, Window: 32})
		f := nn.BitLinear(ops.ReLU2(nn.BitLinear(n, "up", 256)), "down", 64)
		return ops.Add(ops.Add(x, nn.BitLinear(a, "o", 64)), f)
	})
	return ops.Linear(nn.Norm(x, "norm", 1e-5), table)
}

// declare makes a graph of it, for steps of up to 128 tokens.
func declare() (*graph.Graph, error) {
	b := graph.NewBuilder("mine")
	return b.Finish(model(b, layer.Inputs(b, 128)))
}

// zeros supplies a weight of zeros for every param: enough to see a program run.
type zeros struct{ g *graph.Graph }

func (z zeros) Tensor(_ context.Context, name string) (graph.Tensor, error) {
	for _, p := range z.g.Params() {
		if graph.SourceName(p) == name {
			dims, err := p.Out[0].Shape.Eval(nil)
			return graph.NewTensor(p.Out[0].Elem, dims...), err
		}
	}
	return graph.Tensor{}, fmt.Errorf("no param %q", name)
}

// compile lowers it for inference on the portable device.
func compile(ctx context.Context, g *graph.Graph) (*runtime.Program, error) {
	infer := passes.Infer(passes.InferOptions{Cache: passes.NewCache(1, 128, 32, graph.F32), MaxRows: 1})
	lowered, err := infer.Run(g, nil)
	if err != nil {
		return nil, err
	}
	prog, err := runtime.Compile(lowered, ref.Device(ref.Options{Threads: 1}))
	if err != nil {
		return nil, err
	}
	return prog, prog.Load(ctx, zeros{lowered})
}

// Example_architecture declares the model, lowers it and runs one token.
func Example_architecture() {
	ctx := context.Background()
	g, err := declare()
	if err != nil {
		fmt.Println(err)
		return
	}
	prog, err := compile(ctx, g)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer prog.Close()
	run, err := prog.NewRun()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer run.Close()
	for name, v := range map[string][]int32{"tokens": {65}, "seq": {0}, "pos": {0}, "rows": {0}, "table": {0, 1, 2, 3}} {
		in, err := prog.Input(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		run.SetI32(in, v)
	}
	if err := run.Step(ctx, 1, 1); err != nil { // S = 1 token, R = 1 row
		fmt.Println(err)
		return
	}
	logits, err := run.Output(ctx, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(g.Params()), "params, logits", logits.Type())
	// Output: 16 params, logits f32[1,256]
}

// A mistake is reported at the line that made it, and all mistakes at once.
func Example_mistakes() {
	b := graph.NewBuilder("wrong")
	var nn layer.Net
	x := b.Input("x", graph.F32, b.Sym("S", 1, 8), graph.C(64))
	y := nn.BitLinear(ops.RMSNorm(x, b.Param("g", graph.F32, 63), 1e-5), "up", 8)
	z := ops.Add(x, nn.BitLinear(x, "down", 32))
	_, err := b.Finish(y, z)
	fmt.Println(err)
	// Output:
	// architecture_test.go:109: rmsnorm: a row of x has 64 but g has 63; they must be equal; operands are (f32[S,64], f32[63])
	// architecture_test.go:110: add: a is f32[S,64] but b is f32[S,32]; the shapes must be equal, or b a scalar; operands are (f32[S,64], f32[S,32])
}
