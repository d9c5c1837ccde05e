package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// program builds trit once for all tutorials.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trit-docs-")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "trit")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", name, "../cmd/trit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = errors.Join(err, errors.New(string(out)))
	}
	return name, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if name, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

// runTutorial runs the command lines of a tutorial, which are those that are
// indented and begin with "trit ", one after another in dir. smaller replaces
// texts in them, such as a number of steps, so that they take seconds; a
// replacement that never applies is an error. It returns what each printed.
func runTutorial(t *testing.T, file, dir string, smaller ...string) map[string]string {
	t.Helper()
	trit, err := program()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(smaller)/2)
	outputs := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "    trit ") {
			continue
		}
		line, _, _ = strings.Cut(line, "  #")
		line = strings.TrimSpace(line)
		command := line
		for i := range used {
			if after := strings.ReplaceAll(command, smaller[2*i], smaller[2*i+1]); after != command {
				used[i], command = true, after
			}
		}
		cmd := exec.CommandContext(t.Context(), trit, fields(command)[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		outputs[line] = string(out)
	}
	for i, ok := range used {
		if !ok {
			t.Errorf("%s: no command has %q", file, smaller[2*i])
		}
	}
	return outputs
}

// fields splits a command line at blanks outside of quotes.
func fields(line string) (args []string) {
	quoted := rune(0)
	began := false
	var arg strings.Builder
	for _, r := range line {
		switch {
		case r == quoted:
			quoted = 0
		case quoted == 0 && (r == '"' || r == '\''):
			quoted, began = r, true
		case quoted == 0 && r == ' ':
			if began || arg.Len() > 0 {
				args = append(args, arg.String())
			}
			arg.Reset()
			began = false
		default:
			arg.WriteRune(r)
		}
	}
	if began || arg.Len() > 0 {
		args = append(args, arg.String())
	}
	return args
}
