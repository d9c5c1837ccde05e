package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/passes"
)

// groupState is the state of a process of size: all weights and every size-th
// param's moments.
func groupState(rank, size int) State {
	s := State{Weights: map[string]graph.Tensor{}, Moments: map[string]graph.Tensor{}, Steps: 7}
	for i := range 10 {
		name := fmt.Sprintf("p%d", i)
		fill := func(v float32) graph.Tensor {
			x := make([]float32, 16*(i+1))
			for j := range x {
				x[j] = v + float32(j)/8
			}
			return graph.FromF32(x, 16, i+1)
		}
		s.Weights[name] = fill(float32(i))
		if i%size == rank {
			s.Moments[passes.Moment1+name], s.Moments[passes.Moment2+name] = fill(float32(100+i)), fill(float32(200+i))
			s.Moments[Master+name] = fill(float32(300 + i))
		}
	}
	return s
}

// parted is what a sharded optimizer holds of s. Masters are whole on each rank.
func parted(s State, part, parts int) State {
	s.Part, s.Parts = part, parts
	for name, t := range s.Moments {
		if strings.HasPrefix(name, Master) {
			continue
		}
		n := t.Len()
		from, to := ops.PartBounds(n, part, parts)
		flat := graph.NewTensor(graph.F32, ops.PartSize(n, parts))
		copy(flat.F32(), t.F32()[from:to])
		s.Moments[name] = flat
	}
	return s
}

// TestGroup: several processes write a checkpoint together that equals, tensor by
// tensor, what one writes alone; each can read its own share, or another number
// of processes theirs.
func TestGroup(t *testing.T) {
	var order []string
	for i := range 10 {
		order = append(order, fmt.Sprintf("p%d", i))
	}
	dir := t.TempDir()
	state := groupState
	write := func(size int, patience time.Duration, step int) []error {
		errs := make([]error, size)
		var wg sync.WaitGroup
		for rank := range size {
			wg.Go(func() {
				w := &writer{dir: dir, order: order, keep: 9, shardBytes: 1000, group: group{rank, size, patience}}
				p := progress{Format: progressFormat, Step: step}
				after, err := w.write(context.Background(), p, snapshot{State: state(rank, size)})
				errs[rank] = errors.Join(after, err)
			})
		}
		wg.Wait()
		return errs
	}
	for step, size := range []int{1, 3, 4, 3, 4} {
		if step > 2 { // an optimizer whose tensors are cut, not dealt out
			state = func(rank, size int) State { return parted(groupState(0, 1), rank, size) }
		}
		if err := errors.Join(write(size, time.Minute, step)...); err != nil {
			t.Fatal(err)
		}
		s, damaged, err := newest(dir)
		if err != nil || len(damaged) > 0 || s.Step != step {
			t.Fatalf("step %d, %v, %v", s.Step, damaged, err)
		}
		var m manifest
		if err := readJSON(filepath.Join(s.dir, manifestFile), &m); err != nil {
			t.Fatal(err)
		}
		writers := map[int]bool{}
		for _, f := range m.Files {
			writers[f.Rank] = true
		}
		if m.Ranks != size || len(writers) != size {
			t.Errorf("%d ranks, %d of them wrote", m.Ranks, len(writers))
		}
		whole := groupState(0, 1)
		got, err := s.state(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(whole.Weights, got.Weights) + cmp.Diff(whole.Moments, got.Moments); d != "" {
			t.Errorf("%d processes: %.300s", size, d)
		}
		for part := range 3 {
			got, err := s.state(part, 3)
			if err != nil {
				t.Fatal(err)
			}
			want := parted(groupState(0, 1), part, 3)
			if d := cmp.Diff(want.Moments, got.Moments); d != "" {
				t.Errorf("%d processes, part %d: %.300s", size, part, d)
			}
		}
	}

	// One process cannot write its share: process 0 says so, and nothing of the
	// checkpoint remains.
	defer atomicfile.Intercept(func(op, path string) error {
		if strings.Contains(path, "rank-00002") {
			return errors.New("no space left")
		}
		return nil
	})()
	errs := write(3, time.Minute, 5)
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "process 2 of 3") || !strings.Contains(errs[0].Error(), "no space left") || errs[2] == nil {
		t.Errorf("errors %v", errs)
	}
	// One process is dead.
	w := &writer{dir: dir, order: order, keep: 9, group: group{0, 2, 20 * time.Millisecond}}
	_, err := w.write(context.Background(), progress{Format: progressFormat, Step: 6}, snapshot{State: groupState(0, 2)})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "process 1 of 2") {
		t.Errorf("a dead process: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, checkpointsDir))
	if err != nil || len(entries) != 5 {
		t.Errorf("%v, %v", entries, err)
	}
}
