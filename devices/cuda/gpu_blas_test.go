//go:build cuda

package cuda

import (
	"errors"
	"testing"

	"github.com/trit-ml/trit/devices/cuda/internal/cublaslt"
)

// TestBLAS says which library of products is used, and fails where one is asked
// for that cannot be.
func TestBLAS(t *testing.T) {
	d := openGPU(t)
	if d.blas == nil {
		_, err := cublaslt.Load()
		if !errors.Is(err, cublaslt.ErrNotAsked) {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if _, err := d.blas.plan(cublaslt.Product{M: 256, N: 256, K: 256, TB: true, AB: cublaslt.BF16, Y: cublaslt.BF16}); err != nil {
		t.Fatal(err)
	}
	t.Log(d.blas.lib.Path())
}
