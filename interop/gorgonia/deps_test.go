package gorgonia

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCoreLinksNoGorgonia lists what each other package of the module links, and
// what the command links: this package is the only door to Gorgonia.
func TestCoreLinksNoGorgonia(t *testing.T) {
	const module = "github.com/trit-ml/trit"
	list := func(args ...string) []string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"list", "-e"}, args...)...)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return strings.Fields(string(out))
	}
	var core []string
	for _, p := range list("./...") {
		if !strings.HasPrefix(p, module+"/interop/") {
			core = append(core, p)
		}
	}
	if len(core) < 10 {
		t.Fatalf("only %d packages", len(core))
	}
	banned := func(p string) bool {
		return strings.HasPrefix(p, "gorgonia.org/") || strings.HasPrefix(p, "go4.org/unsafe") || strings.HasPrefix(p, "github.com/chewxy/")
	}
	for _, p := range list(append([]string{"-deps"}, core...)...) {
		if banned(p) {
			t.Errorf("a package outside interop links %s", p)
		}
	}
	found := false
	for _, p := range list("-deps", "./interop/gorgonia") {
		found = found || banned(p)
	}
	if !found {
		t.Error("not even this package links Gorgonia: the test sees nothing")
	}
}
