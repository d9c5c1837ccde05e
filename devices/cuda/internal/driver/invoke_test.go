//go:build cuda && linux && (amd64 || arm64)

package driver

import (
	"testing"

	"github.com/ebitengine/purego"
)

// TestWordsDoNotAllocate calls the C library in place of the driver, so that
// the path of every hot call is tested where there is no GPU.
func TestWordsDoNotAllocate(t *testing.T) {
	h, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW)
	if err != nil {
		t.Skip(err)
	}
	abs, err := purego.Dlsym(h, "abs")
	if err != nil {
		t.Fatal(err)
	}
	a := &API{}
	a.fn[cuGraphLaunch], a.fn[cuStreamQuery] = abs, abs
	a.fn[cuGetErrorName], a.fn[cuGetErrorString] = abs, abs // answer "unknown"
	if n := testing.AllocsPerRun(100, func() {
		if err := a.LaunchGraph(0, 7); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
	if done, err := a.StreamDone(0); !done || err != nil {
		t.Errorf("status 0: %v, %v", done, err)
	}
	if done, err := a.StreamDone(ErrorNotReady); done || err != nil {
		t.Errorf("status not ready: %v, %v", done, err)
	}
	if err := a.LaunchGraph(2, 0); !IsCode(err, ErrorOutOfMemory) || err.Error() != "cuGraphLaunch: unknown error (2): " {
		t.Errorf("status 2: %v", err)
	}
}
