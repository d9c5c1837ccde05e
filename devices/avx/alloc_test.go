package avx_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/runtime"
)

// TestStepAllocatesNothing generates tokens, and trains, once their plans exist.
func TestStepAllocatesNothing(t *testing.T) {
	m, err := checkpoint.Open(filepath.Join(golden.Path(t, "pub_a_gqa2_tied_bf16"), "offline"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := open(t, m, avx.Options{Threads: 2})
	q, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	token := []int32{3}
	generate := func() {
		if err := s.Feed(q, runtime.LastLogits, token...); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	generate()
	if n := testing.AllocsPerRun(20, generate); n != 0 {
		t.Errorf("a generated token allocates %v times", n)
	}
	run := trainer(t, avx.Options{Threads: 2}, 64)
	update := func() {
		if err := run.Step(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	update()
	if n := testing.AllocsPerRun(2, update); n != 0 {
		t.Errorf("a training step allocates %v times", n)
	}
}
