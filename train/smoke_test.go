package train_test

import (
	"fmt"
	"testing"

	"github.com/trit-ml/trit/devices/ref"
	"github.com/trit-ml/trit/models/bitnet158"
	"github.com/trit-ml/trit/train"
)

func TestSmoke(t *testing.T) {
	cfg := train.Default()
	cfg.Dir = t.TempDir() + "/run"
	cfg.Data.Path = ".."
	cfg.Data.Include = []string{"*.go"}
	cfg.Model, _ = bitnet158.Preset("nano")
	cfg.Model.Hidden, cfg.Model.FFN, cfg.Model.Layers, cfg.Model.Heads, cfg.Model.KVHeads, cfg.Model.HeadDim = 32, 64, 2, 2, 1, 16
	cfg.Rows, cfg.Window, cfg.Steps = 4, 32, 20
	cfg.ValidateEvery, cfg.SaveEvery, cfg.ValidateWindows = 10, 5, 8
	cfg.Device = ref.Device(ref.Options{Threads: 1})
	tr, err := train.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context(), func(e train.Event) { fmt.Println(e) }); err != nil {
		t.Fatal(err)
	}
}
