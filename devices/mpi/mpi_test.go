package mpi

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestMain is also the program that the tests start with mpirun.
func TestMain(m *testing.M) {
	if _, _, ok := Launched(); ok && os.Getenv("TRIT_MPI_TEST") != "" {
		if err := rank(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rank exchanges tensors of odd sizes and checks what arrives.
func rank() error {
	w, err := Open()
	if err != nil {
		return err
	}
	me, size := w.Rank(), w.Size()
	if r, s, _ := Launched(); r != me || s != size {
		return fmt.Errorf("rank %d of %d, mpirun says %d of %d", me, size, r, s)
	}
	value := func(from, to, i int) byte { return byte(from*31 + to*7 + i) }
	for _, unit := range []int{1, 3, 4, 40000} {
		at, n, total := make([]int, size), make([]int, size), 0
		for r := range size {
			at[r], n[r] = total, unit*r // rank 0's part is empty
			total += n[r] + unit
		}
		send, recv := make([]byte, total), make([]byte, size*n[me])
		for r := range size {
			for i := range n[r] {
				send[at[r]+i] = value(me, r, i)
			}
		}
		if err := w.AllToAll(recv, send, at, n); err != nil {
			return err
		}
		for r := range size {
			for i := range n[me] {
				if got := recv[r*n[me]+i]; got != value(r, me, i) {
					return fmt.Errorf("rank %d: byte %d from rank %d is %d, want %d", me, i, r, got, value(r, me, i))
				}
			}
		}
		buf := bytes.Repeat([]byte{0xee}, total)
		copy(buf[at[me]:], send[at[me]:at[me]+n[me]])
		if err := w.AllGather(buf, at, n); err != nil {
			return err
		}
		for r := range size {
			for i := range n[r] {
				if got := buf[at[r]+i]; got != value(r, r, i) {
					return fmt.Errorf("rank %d: gathered byte %d of rank %d is %d, want %d", me, i, r, got, value(r, r, i))
				}
			}
			if end := at[r] + n[r]; end < total && buf[end] != 0xee {
				return fmt.Errorf("rank %d: gathering wrote behind the part of rank %d", me, r)
			}
		}
	}
	// Go's own handling of faults must have survived the library's start.
	if err := fault(); err == nil || !strings.Contains(err.Error(), "nil pointer") {
		return fmt.Errorf("rank %d: a fault became %v", me, err)
	}
	if err := w.AllGather(nil, []int{0}, nil); err == nil {
		return errors.New("offsets for another number of ranks are accepted")
	}
	fmt.Println("rank", me, "is content")
	return w.Close()
}

func fault() (err error) {
	defer func() { err = fmt.Errorf("%v", recover()) }()
	var p *int
	*p = 1
	return nil
}

func TestRanks(t *testing.T) {
	if err := load(&library{}); err != nil {
		t.Skip("no MPI here, so nothing is tested: ", err)
	}
	if _, err := exec.LookPath("mpirun"); err != nil {
		t.Skip("no mpirun here, so nothing is tested: ", err)
	}
	for _, n := range []int{1, 2, 3} {
		cmd := exec.CommandContext(t.Context(), "mpirun", "--oversubscribe", "--allow-run-as-root", "-n", strconv.Itoa(n), os.Args[0])
		cmd.Env = append(os.Environ(), "TRIT_MPI_TEST=1")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "is content") != n {
			t.Errorf("%d ranks: %v\n%s", n, err, out)
		}
	}
}

func TestLaunched(t *testing.T) {
	for _, tt := range []struct {
		size, rank string
		ok         bool
	}{{"", "", false}, {"2", "", false}, {"2", "1", true}, {"2", "2", false}, {"x", "0", false}} {
		t.Setenv("OMPI_COMM_WORLD_SIZE", tt.size)
		t.Setenv("OMPI_COMM_WORLD_RANK", tt.rank)
		if rank, size, ok := Launched(); ok != tt.ok || ok && (rank != 1 || size != 2) {
			t.Errorf("%q of %q: %d, %d, %v", tt.rank, tt.size, rank, size, ok)
		}
	}
}

// TestWithoutLibrary: a build without the tag, or a machine without the
// library, says what to do.
func TestWithoutLibrary(t *testing.T) {
	if load(&library{}) == nil {
		t.Skip("the library is here")
	}
	if _, err := Open(); err == nil || !strings.Contains(err.Error(), "mpi") {
		t.Errorf("%v", err)
	}
}
