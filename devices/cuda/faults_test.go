//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/runtime"
)

// Faults that a GPU has seldom: each runs in a process of its own on the
// emulated driver (see emulator/README.md), which makes them on demand.
const faultEnv = "TRIT_CUDA_FAULT"

// emulated skips unless the driver is the emulator.
func emulated(t *testing.T) {
	t.Helper()
	if os.Getenv("TRIT_CUDA_DRIVER") == "" {
		t.Skip("needs the emulator: TRIT_CUDA_DRIVER names it")
	}
	infos, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(infos[0].Name, "Emulated") {
		t.Skip("the driver is not the emulator")
	}
}

func TestFaults(t *testing.T) {
	if name := os.Getenv(faultEnv); name != "" {
		faults[name](t)
		return
	}
	emulated(t)
	for _, tt := range []struct {
		what, fault string
		env         []string
		want        []string // parts of the message
	}{
		{"no driver", "open", []string{"TRIT_CUDA_DRIVER=/nowhere/libcuda.so.1"},
			[]string{"cuda:0: no NVIDIA driver", "install the driver, or choose another device"}},
		{"a driver without a function", "open", []string{"TRIT_CUDA_DRIVER=libc.so.6"},
			[]string{"the NVIDIA driver is too old", "install driver 525"}},
		{"no GPU", "open", []string{"TRIT_EMU_DEVICES=0"},
			[]string{"CUDA_ERROR_NO_DEVICE", "check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose another device"}},
		{"an old GPU", "open", []string{"TRIT_EMU_SM=75"},
			[]string{"cuda:0: Emulated GPU sm_75 has compute capability 7.5, but at least 8.0 (Ampere) is needed; choose another device"}},
		{"a driver older than the kernels", "program", []string{"TRIT_EMU_DRIVER=11080"},
			[]string{"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "install driver 525"}},
		{"little memory", "memory", []string{"TRIT_EMU_MEMORY=1048576"},
			[]string{"cuda:0: 1.0 MiB asked", "of 1.0 MiB free", "CUDA_ERROR_OUT_OF_MEMORY", "free GPU memory or ask for less"}},
		{"no memory for a program's weights", "program", []string{"TRIT_EMU_FAIL_ALLOC=5"},
			[]string{"CUDA_ERROR_OUT_OF_MEMORY", "free GPU memory or ask for less"}},
		{"a bad access", "step", []string{"TRIT_EMU_FAIL_LAUNCH=40"},
			[]string{"CUDA_ERROR_ILLEGAL_ADDRESS", "state is lost", "close the device and start again"}},
		{"a memory error", "step", []string{"TRIT_EMU_FAIL_LAUNCH=41", "TRIT_EMU_FAIL_CODE=214"},
			[]string{"CUDA_ERROR_ECC_UNCORRECTABLE", "state is lost", "needs service"}},
		{"a failed launch", "step", []string{"TRIT_EMU_FAIL_LAUNCH=52", "TRIT_EMU_FAIL_CODE=719"},
			[]string{"CUDA_ERROR_LAUNCH_FAILED", "state is lost"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // must not hang
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFaults$", "-test.v")
			cmd.Env = append(os.Environ(), append(tt.env, faultEnv+"="+tt.fault)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, said, _ := strings.Cut(string(out), faultEnv+": ")
			said, _, _ = strings.Cut(said, "\n")
			for _, w := range tt.want {
				if !strings.Contains(said, w) {
					t.Errorf("the error lacks %q:\n%s", w, out)
				}
			}
			if strings.Count(said, "choose another device") > 1 || strings.Count(said, "state is lost") > 1 {
				t.Errorf("the fix is said more than once: %s", said)
			}
		})
	}
}

// say hands an error to the parent.
func say(err error) { fmt.Printf("%s: %v\n", faultEnv, err) }

// faults are what the child does; each ends in one error that it says.
var faults = map[string]func(*testing.T){
	"open": func(t *testing.T) {
		d, err := Open(0)
		if d != nil || err == nil {
			t.Fatal("it opened")
		}
		say(err)
	},

	// What is too large fails and leaves the device as it was.
	"memory": func(t *testing.T) {
		r := newRig(t)
		keep, err := r.d.Alloc(4096)
		r.must(err)
		want := bytes.Repeat([]byte{7}, 4096)
		r.must(r.q.Write(keep, 0, want))
		_, err = r.d.Alloc(1 << 20)
		say(err)
		again, err := r.d.Alloc(4096)
		r.must(err)
		got := make([]byte, 4096)
		r.must(r.q.Read(got, keep, 0))
		r.sync()
		if !bytes.Equal(got, want) {
			t.Error("memory changed")
		}
		r.must(again.Free())
		r.must(keep.Free())
	},

	// Loading fails; everything closes, and nothing is left allocated.
	"program": func(t *testing.T) {
		d := openGPU(t)
		p, err := runtime.Compile(residuals(t), d)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Load(t.Context(), residualWeights(rand.New(rand.NewPCG(10, 10))))
		if err == nil {
			var r *runtime.Run
			if r, err = p.NewRun(); err == nil {
				err = r.Step(t.Context(), 1)
			}
		}
		if err == nil {
			t.Fatal("it loaded")
		}
		say(err)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := d.with(func() error {
			free, total, err := d.api.MemInfo()
			if err == nil && free != total {
				t.Errorf("%d bytes are still allocated", total-free)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	},

	// A step loses the device: one error, the same again, then a clean end; what
	// the host has can go on elsewhere.
	"step": func(t *testing.T) {
		d := openGPUForLoss(t)
		g, weights := residuals(t), residualWeights(rand.New(rand.NewPCG(10, 10)))
		x := make([]float32, width)
		for i := range x {
			x[i] = float32(i%7) - 3
		}
		p, err := runtime.Compile(g, d)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Load(t.Context(), weights); err != nil {
			t.Fatal(err)
		}
		r, err := p.NewRun()
		if err != nil {
			t.Fatal(err)
		}
		r.SetF32(0, x)
		last := make([]byte, 4*width)
		steps := 0
		for ; err == nil; steps++ {
			if steps > 100 {
				t.Fatal("the device is never lost")
			}
			if err = r.Step(t.Context(), 1); err == nil {
				out, e := r.Output(t.Context(), 0)
				if err = e; err == nil {
					copy(last, out.Data)
				}
			}
		}
		say(err)
		if steps < 2 {
			t.Errorf("lost at step %d: no step came first", steps)
		}
		again := r.Step(t.Context(), 1)
		if again == nil {
			_, again = r.Output(t.Context(), 0)
		}
		if again == nil || !strings.Contains(again.Error(), "state is lost") {
			t.Errorf("the next step: %v", again)
		}
		if err := errors.Join(r.Close(), p.Close(), d.Close()); err != nil {
			t.Errorf("the loss is told again: %v", err)
		}

		host := ref.Device(ref.Options{Threads: 1})
		defer host.Close()
		p2, err := runtime.Compile(g, host)
		if err != nil {
			t.Fatal(err)
		}
		defer p2.Close()
		if err := p2.Load(t.Context(), weights); err != nil {
			t.Fatal(err)
		}
		r2, err := p2.NewRun()
		if err != nil {
			t.Fatal(err)
		}
		defer r2.Close()
		r2.SetF32(0, x)
		if err := r2.Step(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		out, err := r2.Output(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Data, last) {
			t.Error("the portable device gives another result than the lost one gave")
		}
	},
}
