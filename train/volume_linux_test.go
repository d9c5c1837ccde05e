package train_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trit-ml/trit/train"
)

// volume mounts a small file system, which needs the right to.
func volume(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a file system here: %v; TestEveryWriteFails does the same by injection", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullVolume fills a real file system while a run writes to it: training
// goes on, the earlier checkpoint stays, and when there is room again the next
// checkpoint is written. One that is full at the end is an error, and what was
// lost is trained again with the same bits.
func TestFullVolume(t *testing.T) {
	dev, data := fast(t, 1), texts(t)
	whole, parts := newCurve(), newCurve()
	c := tiny(filepath.Join(t.TempDir(), "whole"), data, dev)
	c.Steps, c.ValidateEvery, c.SaveInline = 24, 0, true
	tr, err := train.New(c)
	follow(t, tr, err, whole, 0)

	disk := volume(t, "size=4m")
	c.Dir, c.Data.Cache = filepath.Join(disk, "run"), filepath.Join(disk, "cache")
	filler := filepath.Join(disk, "filler")
	fill := func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for chunk := make([]byte, 4096); ; {
			if _, err := f.Write(chunk); errors.Is(err, unix.ENOSPC) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if tr, err = train.New(c); err != nil {
		t.Fatal(err)
	}
	warned := map[int]string{}
	err = tr.Run(t.Context(), func(e train.Event) {
		parts.add(e)
		switch {
		case e.Kind == train.Warned:
			warned[e.Step] = e.Message
			if got := opens(t, c.Dir); e.Step == 8 && got != "step-00000004" {
				t.Errorf("after a failed checkpoint the newest is %s", got)
			}
		case e.Kind == train.Stepped && (e.Step == 6 || e.Step == 22):
			fill()
		case e.Kind == train.Stepped && e.Step == 14:
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "step 24") {
		t.Errorf("full at the end: %v", err)
	}
	for _, step := range []int{8, 12} {
		if !strings.Contains(warned[step], "no space left") {
			t.Errorf("step %d: warned %q", step, warned[step])
		}
	}
	if got := opens(t, c.Dir); got != "step-00000020" {
		t.Errorf("the newest checkpoint is %s", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	follow(t, tr, err, parts, 0)
	same(t, parts, whole)

	// Full before it began: said at once.
	fill()
	c.Dir = filepath.Join(disk, "second")
	if tr, err = train.New(c); err == nil {
		err = tr.Run(t.Context(), nil)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full at the start: %v", err)
	}
}

// same compares the losses.
func same(t *testing.T, got, want curve) {
	t.Helper()
	for step, loss := range want.Loss {
		if got.Loss[step] != loss {
			t.Errorf("step %d: loss %v, want %v", step, got.Loss[step], loss)
		}
	}
}

// readOnly puts a read-only view over a folder. A file that is open for writing,
// such as the lock, would keep the system from changing the mount itself.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnlyVolume makes the file system read-only during a run. Training goes
// on; a run folder that cannot be written to still opens and is evaluated.
func TestReadOnlyVolume(t *testing.T) {
	dev := fast(t, 1)
	disk := volume(t, "size=8m")
	c := tiny(filepath.Join(disk, "run"), texts(t), dev)
	c.SaveInline = true
	tr, err := train.New(c)
	if err != nil {
		t.Fatal(err)
	}
	steps, warned := 0, 0
	err = tr.Run(t.Context(), func(e train.Event) {
		switch e.Kind {
		case train.Stepped:
			if steps++; e.Step == 7 {
				readOnly(t, disk)
			}
		case train.Warned:
			warned++
		}
	})
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) || steps != c.Steps || warned == 0 {
		t.Errorf("%d steps, %d warnings, %v", steps, warned, err)
	}
	if got := opens(t, c.Dir); got != "step-00000005" {
		t.Errorf("the newest checkpoint is %s", got)
	}
	if _, err := train.Evaluate(t.Context(), c.Dir, train.EvaluateOptions{Device: dev, Windows: 1}); err != nil {
		t.Errorf("evaluated on a read-only volume: %v", err)
	}
	tr, err = train.Resume(c.Dir, func(r *train.Config) { r.Device = dev })
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), nil); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "needs a folder to write to") {
		t.Errorf("resumed on a read-only volume: %v", err)
	}
}
