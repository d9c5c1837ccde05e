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
