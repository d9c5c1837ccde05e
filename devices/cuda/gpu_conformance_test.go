//go:build cuda

package cuda

import (
	"testing"

	"github.com/trit-ml/trit/internal/conformance"
)

// TestConformance runs every kernel against the reference implementations.
func TestConformance(t *testing.T) { conformance.Run(t, openGPU(t), conformance.Options{}) }
