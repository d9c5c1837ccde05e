//go:build cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/inprocess"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/collective"
	"github.com/trit-ml/trit/runtime"
)

// gpus is how many GPUs can be joined; the test skips where they are not two or
// where there is no NCCL, unless TRIT_CUDA=required.
func gpus(t *testing.T) int {
	t.Helper()
	infos, err := List()
	if err == nil && len(infos) < 2 {
		err = fmt.Errorf("%d GPUs", len(infos))
	}
	if err == nil {
		err = Joinable()
	}
	switch {
	case err == nil:
		return min(len(infos), 4)
	case os.Getenv("TRIT_CUDA") == "required":
		t.Fatal(err)
	}
	t.Skip(err)
	return 0
}

// onGPUs runs f for every rank at the same time, each on a GPU of its own.
func onGPUs(t *testing.T, n int, f func(c *inprocess.Communicator, m devices.Member) error) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, c := range inprocess.Group(n) {
		wg.Go(func() {
			errs[i] = func() error {
				d, err := Open(i)
				if err != nil {
					return err
				}
				m := d.Join(c)
				err = f(c, m)
				if err != nil {
					c.Leave()
				}
				return errors.Join(err, m.Leave(), d.Close())
			}()
			if errs[i] != nil {
				c.Leave()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		panic("ranks hang")
	}
	return errs
}

// TestJoinedCollectives compares each collective with sums in the order of ranks:
// the same bits for two ranks, and within the bound that package collective
// states for more, on all ranks alike. Parts are equal, unequal and empty.
func TestJoinedCollectives(t *testing.T) {
	for ranks := 2; ranks <= gpus(t); ranks++ {
		for _, n := range []int{1, 3, 7, 1024, 4099, 1 << 16} {
			x, want, size := make([][]float32, ranks), make([]float32, n), make([]float64, n)
			r := rand.New(rand.NewPCG(uint64(n), uint64(ranks)))
			for i := range x {
				x[i] = make([]float32, n)
				for j := range x[i] {
					x[i][j] = float32(r.NormFloat64())
					want[j] += x[i][j]
					size[j] += math.Abs(float64(x[i][j]))
				}
			}
			near := func(got []float32, from int) error {
				for i, g := range got {
					bound := 2 * float64(ranks-1) / (1 << 24) * size[from+i] * 1.001
					if ranks == 2 {
						bound = 0
					}
					if d := math.Abs(float64(g) - float64(want[from+i])); !(d <= bound) {
						return fmt.Errorf("element %d is %v, want %v: %g apart, more than %g", from+i, g, want[from+i], d, bound)
					}
				}
				return nil
			}
			sums := make([][]float32, ranks)
			errs := onGPUs(t, ranks, func(c *inprocess.Communicator, m devices.Member) error {
				b := graph.NewBuilder("collectives")
				a := collective.Attrs{Ranks: ranks, Rank: c.Rank()}
				in := b.Input("x", graph.F32, graph.C(n))
				gathered, whole := b.State("s", graph.F32, graph.C(n)), b.State("whole", graph.F32, graph.C(n))
				g, err := b.Finish(collective.AllReduce(in, ranks), ops.Add(collective.AllReduce(ops.Add(in, in), ranks), in),
					collective.ReduceScatter(in, a), collective.AllGather(gathered, a),
					collective.AllReduceInPlaceOp.One(collective.ReduceAttrs{Ranks: ranks}, whole),
					collective.GatherColumns(ops.Reshape(in, graph.C(1), graph.C(n)), ranks),
					collective.GatherColumns(ops.Reshape(in, graph.C(n), graph.C(1)), ranks))
				if err != nil {
					return err
				}
				p, err := runtime.Compile(g, m)
				if err != nil {
					return err
				}
				run, err := p.NewRun()
				if err != nil {
					return err
				}
				from, to := ops.PartBounds(n, c.Rank(), ranks)
				mine := make([]float32, n)
				copy(mine[from:to], want[from:to])
				for range 2 { // replayed
					err = errors.Join(err, run.WriteState(context.Background(), "s", graph.FromF32(mine, n)),
						run.WriteState(context.Background(), "whole", graph.FromF32(x[c.Rank()], n)))
					run.SetF32(0, x[c.Rank()])
					err = errors.Join(err, run.Step(context.Background()))
				}
				if err != nil {
					return err
				}
				var out [7][]float32
				for i := range out {
					o, err := run.Output(context.Background(), i)
					if err != nil {
						return err
					}
					out[i] = slices.Clone(o.F32())
				}
				sums[c.Rank()] = out[0]
				for i := range out[1] { // doubled, and x added: undo both, which is exact up to the last step
					if w := 2*out[0][i] + x[c.Rank()][i]; out[1][i] != w {
						err = errors.Join(err, fmt.Errorf("sum of doubled values, element %d: %v, want %v", i, out[1][i], w))
						break
					}
				}
				err = errors.Join(err, near(out[0], 0), near(out[2][:to-from], from), near(out[4], 0))
				if i := slices.IndexFunc(out[2][to-from:], func(v float32) bool { return v != 0 }); i >= 0 {
					err = errors.Join(err, errors.New("a part's end is not padded with zeros"))
				}
				var row, columns []float32
				for i := range x {
					row = append(row, x[i]...)
				}
				for j := range n {
					for i := range x {
						columns = append(columns, x[i][j])
					}
				}
				if !slices.Equal(out[5], row) || !slices.Equal(out[6], columns) {
					err = errors.Join(err, errors.New("the gathered rows differ"))
				}
				if !slices.Equal(out[3], want) {
					err = errors.Join(err, errors.New("the gathered state differs"))
				}
				return errors.Join(err, run.Close(), p.Close())
			})
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%d ranks, %d elements: %v", ranks, n, err)
			}
			for r := range sums {
				if !slices.Equal(sums[r], sums[0]) {
					t.Errorf("%d ranks, %d elements: rank %d has another sum than rank 0", ranks, n, r)
				}
			}
		}
	}
}

// TestGoneRank: when a rank leaves while the others' collectives wait for it,
// they get an error.
func TestGoneRank(t *testing.T) {
	n := gpus(t)
	errs := onGPUs(t, n, func(c *inprocess.Communicator, m devices.Member) error {
		b := graph.NewBuilder("g")
		g, err := b.Finish(collective.AllReduce(b.Input("x", graph.F32, graph.C(1000)), n))
		if err != nil {
			return err
		}
		p, err := runtime.Compile(g, m)
		if err != nil {
			return err
		}
		defer p.Close()
		run, err := p.NewRun()
		if err != nil {
			return err
		}
		defer run.Close()
		run.SetF32(0, make([]float32, 1000))
		if err := run.Step(context.Background()); err != nil {
			return err
		}
		if c.Rank() == n-1 {
			return errors.New("this rank ends")
		}
		err = run.Step(context.Background())
		if again := run.Step(context.Background()); again == nil || err == nil {
			return fmt.Errorf("steps without the rank that ended: %v, %v", err, again)
		}
		return err
	})
	for r, err := range errs {
		want := "the ranks are no longer joined: another rank has left"
		if r == n-1 {
			want = "this rank ends"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// TestJoinNeedsEveryRank: without NCCL on one rank none waits.
func TestJoinNeedsEveryRank(t *testing.T) {
	gpus(t)
	t.Setenv("TRIT_NCCL_LIBRARY", "/nonexistent/libnccl.so")
	errs := onGPUs(t, 2, func(c *inprocess.Communicator, m devices.Member) error {
		_, err := m.NewQueue()
		return err
	})
	for r, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "TRIT_NCCL_LIBRARY") {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}
