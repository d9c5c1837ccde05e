package host_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/runtime"
)

// onRanks runs f once for every rank, at the same time.
func onRanks(t *testing.T, n int, f func(c *inprocess.Communicator) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, c := range inprocess.Group(n) {
		wg.Go(func() {
			if errs[i] = f(c); errs[i] != nil {
				c.Leave()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestCollectives compares each collective with sums written out here, over
// sizes with short and empty parts, of several blocks, in place and not.
func TestCollectives(t *testing.T) {
	for _, ranks := range []int{1, 2, 3, 4} {
		for _, n := range []int{1, 3, 7, 1024, 1025, 5000, 1<<20 + 3} {
			x := make([][]float32, ranks)
			r := rand.New(rand.NewPCG(uint64(n), uint64(ranks)))
			for i := range x {
				x[i] = make([]float32, n)
				for j := range x[i] {
					x[i][j] = float32(r.NormFloat64())
				}
			}
			want := slices.Clone(x[0])
			for _, o := range x[1:] {
				for i, v := range o {
					want[i] += v
				}
			}
			onRanks(t, ranks, func(c *inprocess.Communicator) error {
				dev := ref.Device(ref.Options{Threads: 1})
				defer dev.Close()
				b := graph.NewBuilder("collectives")
				a := collective.Attrs{Ranks: ranks, Rank: c.Rank()}
				in := b.Input("x", graph.F32, graph.C(n))
				s := b.State("s", graph.F32, graph.C(n))
				whole := b.State("whole", graph.F32, graph.C(n))
				g, err := b.Finish(collective.AllReduce(in, ranks), collective.AllReduce(ops.Scale(in, 1), ranks),
					collective.ReduceScatter(in, a), collective.AllGather(s, a),
					collective.AllReduceInPlaceOp.One(collective.ReduceAttrs{Ranks: ranks}, whole),
					collective.GatherColumns(ops.Reshape(in, graph.C(1), graph.C(n)), ranks),
					collective.GatherColumns(ops.Reshape(in, graph.C(n), graph.C(1)), ranks))
				if err != nil {
					return err
				}
				p, err := runtime.Compile(g, dev.Join(c))
				if err != nil {
					return err
				}
				run, err := p.NewRun()
				if err != nil {
					return err
				}
				mine := make([]float32, n)
				from, to := ops.PartBounds(n, c.Rank(), ranks)
				copy(mine[from:to], want[from:to])
				if err := run.WriteState(context.Background(), "s", graph.FromF32(mine, n)); err != nil {
					return err
				}
				if err := run.WriteState(context.Background(), "whole", graph.FromF32(x[c.Rank()], n)); err != nil {
					return err
				}
				run.SetF32(0, x[c.Rank()])
				if err := run.Step(context.Background()); err != nil {
					return err
				}
				part := make([]float32, ops.PartSize(n, ranks))
				copy(part, want[from:to])
				var row, columns []float32
				for i := range x {
					row = append(row, x[i]...)
				}
				for j := range n {
					for i := range x {
						columns = append(columns, x[i][j])
					}
				}
				for i, w := range [][]float32{want, want, part, want, want, row, columns} {
					got, err := run.Output(context.Background(), i)
					if err != nil {
						return err
					}
					if !slices.Equal(got.F32(), w) {
						return fmt.Errorf("rank %d of %d, %d elements: output %d differs", c.Rank(), ranks, n, i)
					}
				}
				return errors.Join(run.Close(), p.Close())
			})
		}
	}
}

// TestCollectivesNeedTheirCommunicator: another number of ranks is refused when
// the program is compiled, no communicator when it runs.
func TestCollectivesNeedTheirCommunicator(t *testing.T) {
	b := graph.NewBuilder("g")
	g, err := b.Finish(collective.AllReduce(b.Input("x", graph.F32, graph.C(2)), 2))
	if err != nil {
		t.Fatal(err)
	}
	dev := ref.Device(ref.Options{Threads: 1})
	defer dev.Close()
	run := func(dev devices.Device) error {
		p, err := runtime.Compile(g, dev)
		if err != nil {
			return err
		}
		r, err := p.NewRun()
		if err != nil {
			return err
		}
		defer r.Close()
		r.SetF32(0, []float32{1, 2})
		return r.Step(t.Context())
	}
	for _, d := range []devices.Device{dev, dev.Join(inprocess.Group(3)[0])} {
		if err := run(d); err == nil || !strings.Contains(err.Error(), "for 2 ranks") {
			t.Errorf("%v", err)
		}
	}
}

// TestRanksMustAgree: ranks that do different things get an error, not a hang
// or wrong bytes; so does a rank that waits for one that left.
func TestRanksMustAgree(t *testing.T) {
	cs := inprocess.Group(2)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, c := range cs {
		wg.Go(func() {
			if i == 0 {
				errs[i] = c.AllGather(make([]byte, 8), []int{0, 4}, []int{4, 4})
			} else {
				errs[i] = c.AllToAll(make([]byte, 8), make([]byte, 8), []int{0, 4}, []int{4, 4})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "all-to-all") || !strings.Contains(err.Error(), "all-gather") {
			t.Errorf("%v", err)
		}
	}
	cs[0].Leave()
	if err := cs[1].AllGather(make([]byte, 8), []int{0, 4}, []int{4, 4}); !errors.Is(err, devices.ErrGone) {
		t.Errorf("%v", err)
	}
}
