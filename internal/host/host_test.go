package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

func device(t *testing.T, threads int) *Device {
	d := New(Config{Name: "test", Kernels: []devices.Kernel{RefKernel()}, Threads: threads})
	t.Cleanup(func() { d.Close() })
	return d
}

func queue(t *testing.T, d *Device) devices.Queue {
	q, err := d.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestAlloc(t *testing.T) {
	for _, n := range []int{0, 1, 127, 4096, bigAlloc - 1, bigAlloc, 5<<20 + 3} {
		b, err := Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if b.Size() != n || len(b.Bytes()) != n {
			t.Errorf("%d bytes: size %d", n, b.Size())
		}
		if n > 0 && uintptr(unsafe.Pointer(&b.Bytes()[0]))%devices.Align != 0 {
			t.Errorf("%d bytes: start %p is not aligned", n, &b.Bytes()[0])
		}
		for i, v := range b.Bytes() {
			if v != 0 {
				t.Fatalf("%d bytes: byte %d is not zero", n, i)
			}
			b.Bytes()[i] = 1 // faults if the memory is not ours
		}
		if err := b.Free(); err != nil {
			t.Error(err)
		}
		if err := b.Free(); err != nil || b.Size() != 0 {
			t.Errorf("second Free: %v, size %d", err, b.Size())
		}
	}
	for _, n := range []int{-1, math.MaxInt} {
		if _, err := device(t, 1).Alloc(n); err == nil {
			t.Errorf("Alloc(%d) succeeded", n)
		}
	}
}

func TestOperandsOutsideTheirBufferAreNil(t *testing.T) {
	b, _ := Alloc(256)
	o := devices.Operand{Elem: graph.F32, Dims: []int{8}, Buf: b, Off: 224}
	if got := F32(o); len(got) != 8 {
		t.Fatalf("%d elements, want 8", len(got))
	}
	F32(o)[7] = 3
	if math.Float32frombits(*(*uint32)(unsafe.Pointer(&b.Bytes()[252]))) != 3 {
		t.Error("the operand is a copy")
	}
	for _, bad := range []devices.Operand{
		{Elem: graph.F32, Dims: []int{9}, Buf: b, Off: 224},
		{Elem: graph.F32, Dims: []int{1}, Buf: b, Off: -4},
		{Elem: graph.F32, Dims: []int{1}, Buf: b, Off: 260},
		{Elem: graph.F32, Dims: []int{1}},
		{Elem: graph.I32, Dims: []int{1}, Buf: b},
	} {
		if F32(bad) != nil {
			t.Errorf("%+v gives elements", bad)
		}
	}
}

func TestQueueBounds(t *testing.T) {
	d := device(t, 1)
	q := queue(t, d)
	b, _ := d.Alloc(16)
	for _, off := range []int{-1, 9, 17, math.MaxInt} {
		if q.Write(b, off, make([]byte, 8)) == nil || q.Read(make([]byte, 8), b, off) == nil ||
			q.Copy(b, off, b, 0, 8) == nil || q.Copy(b, 0, b, off, 8) == nil {
			t.Errorf("offset %d accepted", off)
		}
	}
	w, _ := d.Wrap([]byte("read only"))
	if err := q.Write(w, 0, []byte("x")); !errors.Is(err, errReadOnly) {
		t.Errorf("writing to wrapped memory: %v", err)
	}
	got := make([]byte, 4)
	if err := errors.Join(q.Copy(b, 4, w, 5, 4), q.Read(got, b, 4)); err != nil || string(got) != "only" {
		t.Errorf("copy: %q, %v", got, err)
	}
}

func TestSequenceRunsPhasesInOrder(t *testing.T) {
	for threads := 1; threads <= 3; threads++ {
		q := queue(t, device(t, threads))
		var sum atomic.Int64
		var seen []int64
		add := func(n int64) Phase {
			return Phase{Tasks: 10, Run: func(int, int) { sum.Add(n) }}
		}
		look := Phase{Tasks: 1, Run: func(int, int) { seen = append(seen, sum.Load()) }}
		ls := []devices.Launch{
			Launch{Phases: []Phase{add(1), look}},
			Launch{},
			Launch{Phases: []Phase{{Tasks: 0, Run: func(int, int) { t.Error("a phase of no tasks ran") }}, add(10), look}},
		}
		seq, err := q.Capture(ls)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := errors.Join(seq.Replay(), q.Sync(context.Background())); err != nil {
				t.Fatal(err)
			}
		}
		if want := []int64{10, 110, 120, 220}; !slices.Equal(seen, want) {
			t.Errorf("%d threads: %v, want %v", threads, seen, want)
		}
		times, err := seq.Profile()
		if err != nil || len(times) != 3 || times[1] != 0 || times[2] <= 0 {
			t.Errorf("profile %v, %v", times, err)
		}
	}
}

func TestReplayDoesNotAllocate(t *testing.T) {
	q := queue(t, device(t, 2))
	seq, err := q.Capture([]devices.Launch{Chunks(&devices.Call{}, 100, 7, func(from, to int) {})})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		if seq.Replay() != nil || q.Sync(ctx) != nil {
			t.Error("failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestErrorsOfWorkComeAtSync(t *testing.T) {
	for threads := 1; threads <= 2; threads++ {
		q := queue(t, device(t, threads))
		bad := errors.New("token 7 is outside the vocabulary")
		c := &devices.Call{Where: "model.go:12: embedding"}
		ran := false
		fails := Parallel(c, 4, func(task, _ int) {
			if task == 2 {
				Fail(bad)
			}
		})
		after := Serial(c, func() { ran = true })
		if err := q.Launch(fails, after); err != nil {
			t.Errorf("Launch: %v", err)
		}
		err := q.Sync(context.Background())
		if !errors.Is(err, bad) || err.Error() != "model.go:12: embedding: token 7 is outside the vocabulary" {
			t.Errorf("Sync: %v", err)
		}
		if ran {
			t.Error("work after the failure ran")
		}
		if err := errors.Join(q.Launch(after), q.Sync(context.Background())); err != nil || !ran {
			t.Errorf("the queue did not recover: %v", err)
		}
		// A crash inside a kernel is an error too.
		_ = q.Launch(Serial(c, func() { var s []int; s[threads] = 1 }))
		if err := q.Sync(context.Background()); err == nil || !strings.Contains(err.Error(), "index out of range") {
			t.Errorf("crash: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := queue(t, device(t, 1)).Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Sync after cancel: %v", err)
	}
}

func TestForeignLaunchAndBuffer(t *testing.T) {
	q := queue(t, device(t, 1))
	if _, err := q.Capture([]devices.Launch{42}); err == nil {
		t.Error("a foreign launch was captured")
	}
	if q.Launch("x") == nil || q.Write(nil, 0, nil) == nil {
		t.Error("foreign values accepted")
	}
}

func TestChunksCoverRowsOnce(t *testing.T) {
	q := queue(t, device(t, 3))
	for n := range 20 {
		for size := range 8 {
			hits := make([]int32, n)
			_ = q.Launch(Chunks(&devices.Call{}, n, size, func(from, to int) {
				for i := from; i < to; i++ {
					atomic.AddInt32(&hits[i], 1)
				}
			}))
			for i, h := range hits {
				if h != 1 {
					t.Fatalf("n %d, size %d: row %d ran %d times", n, size, i, h)
				}
			}
		}
	}
}

// accumulate adds to its result, as a gradient's reference may.
var accumulate = graph.Define(graph.Def[graph.None]{
	Name: "accumulate", In: "x", Out: "y",
	Infer: func(_ graph.None, in []graph.Type) ([]graph.Type, error) { return in, nil },
	Ref: func(_ graph.None, in, out []graph.Tensor) error {
		for i, v := range in[0].F32() {
			if v < 0 {
				return fmt.Errorf("element %d is negative", i)
			}
			out[0].F32()[i] += v
		}
		return nil
	},
})

func TestRefKernel(t *testing.T) {
	d := device(t, 1)
	b, _ := d.Alloc(512)
	in := devices.Operand{Elem: graph.F32, Dims: []int{3}, Buf: b}
	out := devices.Operand{Elem: graph.F32, Dims: []int{3}, Buf: b, Off: 128}
	c := &devices.Call{Op: accumulate.OpDef, Attrs: graph.None{}, Where: "here", In: []devices.Operand{in}, Out: []devices.Operand{out}}
	l, err := RefKernel().Bind(c)
	if err != nil {
		t.Fatal(err)
	}
	q := queue(t, d)
	copy(F32(in), []float32{1, 2, 3})
	copy(F32(out), []float32{9, 9, 9}) // memory is dirty between steps
	if err := errors.Join(q.Launch(l, l), q.Sync(context.Background())); err != nil {
		t.Fatal(err)
	}
	if got := F32(out); !slices.Equal(got, []float32{1, 2, 3}) {
		t.Errorf("got %v", got)
	}
	F32(in)[1] = -1
	_ = q.Launch(l)
	if err := q.Sync(context.Background()); err == nil || err.Error() != "here: element 1 is negative" {
		t.Errorf("error: %v", err)
	}
	c.In[0].Layout = "packed"
	if _, err := BindRef(c); err == nil {
		t.Error("a packed operand was bound")
	}
	c.In[0] = devices.Operand{Elem: graph.F32, Dims: []int{200}, Buf: b}
	if _, err := BindRef(c); err == nil {
		t.Error("an operand outside its buffer was bound")
	}
}
