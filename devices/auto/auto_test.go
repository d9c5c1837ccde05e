package auto

import (
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices/avx"
	"github.com/trit-ml/trit/devices/neon"
)

// TestOpen asks for every device by name: each is there, or says why not.
func TestOpen(t *testing.T) {
	for _, name := range Names() {
		d, note, err := Open(Options{Name: name, Threads: 1})
		if err != nil {
			if d != nil || !strings.Contains(err.Error(), "device") {
				t.Errorf("%s: %v beside error %v", name, d, err)
			}
			continue
		}
		if (note != "") != (d.Name() == "ref" && name != "ref") {
			t.Errorf("%s: %s, note %q", name, d.Name(), note)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{"cuda:x": "want the number of a GPU", "cuda:-1": "want the number", "cuda:sm_61": "known are sm_80"} {
		if d, _, err := Open(Options{Name: name}); d != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, error %v, want one that says %q", name, d, err, want)
		}
	}
	if d, note, err := Open(Options{Name: "cuda:sm_90"}); err != nil || note != "" || d.Name() != "cuda:sm_90" {
		t.Errorf("cuda:sm_90: %v, %q, %v", d, note, err)
	}
	if _, _, err := Open(Options{Name: "abacus"}); err == nil || !strings.Contains(err.Error(), "neon") {
		t.Errorf("unknown name: error %v, want one that lists the names", err)
	}
}

// TestBest demands the fast device wherever one can be had, and a reason for
// the portable one elsewhere.
func TestBest(t *testing.T) {
	want := "ref"
	if d, err := avx.Device(avx.Options{Threads: 1}); err == nil {
		want = d.Name()
		_ = d.Close()
	}
	if d, err := neon.Device(neon.Options{Threads: 1}); err == nil {
		want = d.Name()
		_ = d.Close()
	}
	d, note, err := Open(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Name() != want || (note != "") != (want == "ref") {
		t.Errorf("%s with note %q, want %s", d.Name(), note, want)
	}
}
