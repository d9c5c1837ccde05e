//go:build cuda

package cuda

import "testing"

// TestMeasure checks that limits are measured, and on a GPU that they are
// possible: no memory is faster than its clock.
func TestMeasure(t *testing.T) {
	d := openGPU(t)
	l, err := d.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", l)
	if l.ReadGBs <= 0 || l.CopyGBs <= 0 || l.MACGs <= 0 || l.FMAGFLOPs <= 0 {
		t.Errorf("limits %+v", l)
	}
	if most := d.info.Bandwidth / 1e9; l.ReadGBs > most || l.CopyGBs > most {
		t.Errorf("read %.0f and copied %.0f GB/s, the memory moves %.0f", l.ReadGBs, l.CopyGBs, most)
	}
}
