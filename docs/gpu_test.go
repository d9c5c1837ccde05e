package docs

import (
	"strings"
	"testing"
)

// TestGPUPage runs the commands of docs/gpu.md that need no GPU.
func TestGPUPage(t *testing.T) {
	out := runTutorial(t, "gpu.md", t.TempDir())
	for command, want := range map[string][]string{
		"trit doctor --quick":                                         {"device cuda"},
		"trit explain --preset 2b4t --device cuda:sm_90":              {"on cuda:sm_90", "fused.norm_bitlinear", "fused.rope_attend", "traffic"},
		"trit explain --preset 2b4t --device cuda:sm_80 --tokens 512": {"on cuda:sm_80", "mma"},
	} {
		text, ok := out[command]
		if !ok {
			t.Errorf("the page lacks %q", command)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", command, w, text)
			}
		}
	}
}
