package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sameModel compares the trained weights of two runs, bit by bit.
func sameModel(t *testing.T, a, b string) {
	t.Helper()
	read := func(dir string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(read(a), read(b)) {
		t.Errorf("%s and %s have other weights", a, b)
	}
}

// TestTrainTogether: several devices of one process train the model that one with
// as many micro-batches trains, also with moments in parts and when the run goes
// on with another number.
func TestTrainTogether(t *testing.T) {
	text, dir := rankText(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	more := []string{"--steps", "6", "--clip", "0", "--device"}
	ok(t, nil, rankArgs(text, at("alone"), append(more, "auto", "--accumulate", "4")...)...)
	ok(t, []string{"rank 3"}, rankArgs(text, at("four"), append(more, "auto,auto,auto,auto", "--shard-optimizer")...)...)
	sameModel(t, at("alone"), at("four"))
	ok(t, nil, rankArgs(text, at("on"), "--device", "auto", "--accumulate", "4", "--clip", "0", "--steps", "3", "--schedule", "constant")...)
	ok(t, nil, "train", "--resume", "--out", at("on"), "--device", "auto, auto,auto,auto", "--accumulate", "1", "--steps", "6")
	ok(t, nil, rankArgs(text, at("whole"), append(more, "auto", "--accumulate", "4", "--schedule", "constant")...)...)
	sameModel(t, at("whole"), at("on"))
}

// TestTwinsTogether: a comparison on two devices trains the models that one device
// trains with two micro-batches, also when it goes on after a stop between its runs.
func TestTwinsTogether(t *testing.T) {
	text, dir := rankText(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	common := []string{"--twin", "--steps", "3", "--clip", "0", "--device"}
	ok(t, []string{"written to"}, rankArgs(text, at("one"), append(common, "auto", "--accumulate", "2")...)...)
	ok(t, []string{"seed-1-ternary", "seed-1-plain", "written to"}, rankArgs(text, at("two"), append(common, "auto,auto")...)...)
	for _, run := range []string{"seed-1-ternary", "seed-1-plain"} {
		sameModel(t, filepath.Join(at("one"), run), filepath.Join(at("two"), run))
	}
	if err := os.RemoveAll(filepath.Join(at("two"), "seed-1-plain")); err != nil {
		t.Fatal(err)
	}
	ok(t, []string{"seed-1-plain", "written to"}, "train", "--twin", "--resume", "--out", at("two"), "--device", "auto,auto")
	sameModel(t, filepath.Join(at("one"), "seed-1-plain"), filepath.Join(at("two"), "seed-1-plain"))
}

// TestTrainTogetherErrors: a mistake ends all ranks with one error.
func TestTrainTogetherErrors(t *testing.T) {
	text, dir := rankText(t), t.TempDir()
	for devices, want := range map[string]string{
		"ref,ref,ref": "8 rows cannot be cut into 1 micro-batches on each of 3 ranks",
		"ref,nothing": `no device "nothing"`,
		"ref,":        "a name in the list of devices is empty",
	} {
		out, code := trit(t, rankArgs(text, filepath.Join(dir, "run"), "--device", devices)...)
		if code == 0 || !strings.Contains(out, want) || strings.Count(out, "trit: ") != 1 {
			t.Errorf("--device %s: exit %d, want %q\n%s", devices, code, want, out)
		}
	}
}
