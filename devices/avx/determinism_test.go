package avx_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/graph"
)

// TestTrainingBits trains a model for two steps and compares every weight and
// moment, bit for bit, for several thread counts and instruction sets.
func TestTrainingBits(t *testing.T) {
	ctx := context.Background()
	want := map[string][]byte{}
	for _, o := range []avx.Options{{Threads: 1}, {Threads: 2}, {Threads: 3}, {Threads: 2, Off: "-avx512"}} {
		run := trainer(t, o, 96)
		for range 2 {
			if err := run.Step(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range run.Program().States() {
			name := graph.SourceName(n)
			x, err := run.ReadState(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if want[name] == nil {
				want[name] = x.Data
			}
			if !bytes.Equal(x.Data, want[name]) {
				t.Errorf("options %+v: %s has other bits than on one thread", o, name)
			}
		}
	}
}
