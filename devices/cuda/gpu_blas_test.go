//go:build cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/cublaslt"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// TestBLAS says which library of products is used, and fails where there is one
// that cannot be.
func TestBLAS(t *testing.T) {
	d := openGPU(t)
	t.Log(d.Libraries())
	if _, err := cublaslt.Load(); err != nil {
		t.Skip(err)
	}
	if _, err := d.blas.plan(cublaslt.Product{M: 256, N: 256, K: 256, TB: true, AB: cublaslt.BF16, Y: cublaslt.BF16}); err != nil {
		t.Fatal(err)
	}
}

// TestBLASFails: whatever the library fails at, products are done by own kernels,
// and the reason can be read. Each case is a process of its own.
func TestBLASFails(t *testing.T) {
	if os.Getenv(faultEnv) != "" {
		sayProducts(t)
		return
	}
	emulated(t)
	library := os.Getenv("TRIT_CUDA_DRIVER") // answers for cuBLASLt, too
	const (
		blas = "matmul.cublaslt"
		own  = "matmul.bf16.mma_64x64"
	)
	for _, tt := range []struct{ library, fail, small, large, why string }{
		{library, "", blas, blas, "by cuBLASLt 13.0.0 (" + library},
		{cublaslt.Off, "", own, own, "switched off by TRIT_CUBLASLT_LIBRARY=off"},
		{"/nowhere/libcublasLt.so", "", own, own, "from TRIT_CUBLASLT_LIBRARY: "},
		{"libc.so.6", "", own, own, "libc.so.6 lacks cublasLt"},
		{library, "cublasLtCreate", own, own, "cublasLtCreate: cuBLAS status 1"},
		{library, "cublasLtMatmulAlgoGetHeuristic", own, own, "on trial: cublasLtMatmulAlgoGetHeuristic: cuBLAS status 15"},
		{library, "cublasLtMatmul", own, own, "on trial: cublasLtMatmul: cuBLAS status 7"},
		{library, "result", own, own, "on trial: a product of 128×96×160 is wrong"},
		{library, "large", blas, own, "cublasLtMatmul: cuBLAS status 7"},
	} {
		t.Run(tt.library+" "+tt.fail, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBLASFails$", "-test.v")
			cmd.Env = append(os.Environ(), faultEnv+"=products", cublaslt.LibraryEnv+"="+tt.library, "TRIT_EMU_FAIL_BLAS="+tt.fail)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{
				fmt.Sprintf("%d rows: matmul.bf16", fewRows-1), "64 rows: " + tt.small, "1024 rows: " + tt.large, tt.why,
			} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is not said:\n%s", want, out)
				}
			}
		})
	}
}

// sayProducts says which kernels are chosen, why another is not, and what the
// device says of its libraries.
func sayProducts(t *testing.T) {
	d := openGPU(t)
	reg := devices.NewRegistry(d)
	x := func(r, c int) devices.Operand { return devices.Operand{Elem: graph.BF16, Dims: []int{r, c}} }
	for _, m := range []int{fewRows - 1, fewRows, 1024} {
		k, rs, err := reg.Choose(&devices.Call{Op: ops.MatMulOp.OpDef, Attrs: ops.MatMulAttrs{TB: true},
			In: []devices.Operand{x(m, 256), x(64, 256)}, Out: []devices.Operand{x(m, 64)}})
		if err != nil {
			t.Fatal(err)
		}
		say(fmt.Errorf("%d rows: %s", m, k.Name))
		for _, r := range rs {
			if r.Kernel == "matmul.cublaslt" {
				say(errors.New(r.Reason))
			}
		}
	}
	say(errors.New(d.Libraries()))
}
