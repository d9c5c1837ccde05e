package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/models/layer"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/train"
)

// An architecture of one's own, trained on a file.
func Example() {
	dir, err := os.MkdirTemp("", "trit-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("to be or not to be\n", 200)), 0o666); err != nil {
		log.Fatal(err)
	}
	cfg := train.Default()
	cfg.Dir, cfg.Data.Path = filepath.Join(dir, "run"), text
	cfg.Tokenizer.Kind = train.Bytes
	cfg.Declare = func(b *graph.Builder, tok layer.Tokens) graph.Value {
		var nn layer.Net
		x, table := nn.Embed(tok.IDs, "embed", 257, 32) // 256 bytes and a separator
		n := nn.Norm(x, "norm", 1e-5)
		q, k, v := nn.BitLinear(n, "q", 32), nn.BitLinear(n, "k", 32), nn.BitLinear(n, "v", 32)
		a := ops.Attention(ops.RoPE(q, tok.Pos, 1e4, 32), ops.RoPE(k, tok.Pos, 1e4, 32), v, tok.Seq, tok.Pos, ops.AttentionAttrs{Heads: 1, KVHeads: 1})
		x = ops.Add(x, nn.BitLinear(a, "o_proj", 32))
		return ops.Linear(nn.Norm(x, "norm_f", 1e-5), table)
	}
	cfg.Rows, cfg.Window, cfg.Steps = 4, 32, 150
	cfg.Optimizer.Schedule.Warmup, cfg.Optimizer.Schedule.Peak = 5, 0.02
	cfg.Device = ref.Device(ref.Options{})

	t, err := train.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = t.Run(context.Background(), func(e train.Event) {
		if e.Kind == train.Scored {
			fmt.Println("learned:", e.Valid.BitsPerByte < 2.5)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: learned: true
}
