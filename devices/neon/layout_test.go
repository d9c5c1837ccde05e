package neon

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/neon/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
)

// TestPackChecksCodes demands that a wrong code is an error that says where it
// stands, whichever task meets it.
func TestPackChecksCodes(t *testing.T) {
	const n, k = 150, 37
	d := newDevice(t, Options{Threads: 2, Portable: true})
	for _, at := range [][2]int{{0, 0}, {7, 3}, {n - 1, k - 1}} {
		codes := make([]byte, n*k)
		codes[at[0]*k+at[1]] = 2
		out, err := d.Alloc(asm.PackedBytes(n, k))
		if err != nil {
			t.Fatal(err)
		}
		l, err := d.Layouts()[0].Pack(
			devices.Operand{Elem: graph.Tern, Dims: []int{n, k}, Buf: host.Wrap(codes)},
			devices.Operand{Elem: graph.Tern, Dims: []int{n, k}, Layout: ternaryLayout, Buf: out})
		if err != nil {
			t.Fatal(err)
		}
		q, err := d.NewQueue()
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Launch(l); err != nil {
			t.Fatal(err)
		}
		err = q.Sync(context.Background())
		want := fmt.Sprintf("weight code 2 at row %d, column %d", at[0], at[1])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		_ = q.Close()
	}
	if _, err := d.Layouts()[0].Pack(devices.Operand{Elem: graph.F32, Dims: []int{n, k}}, devices.Operand{}); err == nil {
		t.Error("floats are packed")
	}
}
