package train

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/trit-ml/trit/models/tokenizer"
)

// patience is how long rank 0 waits for another rank's part of a checkpoint.
const patience = 10 * time.Minute

// meet waits until every rank is here and checks that all were given the same:
// ranks that compute different things would spoil the weights without an error.
func (t *Trainer) meet() error {
	rank, size := t.cfg.Scale.ranks()
	if size == 1 {
		return nil
	}
	text, err := json.Marshal(t.cfg)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	mine := []float64{float64(t.lastSave)}
	for _, s := range []string{string(text), kind(t.cfg.Device.Name()), version()} {
		sum := sha256.Sum256([]byte(s))
		mine = append(mine, float64(uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3])))
	}
	all, err := t.cfg.Scale.gather(mine)
	if err != nil {
		return err
	}
	for r, theirs := range all {
		for i, what := range []string{"checkpoint to begin from", "configuration", "device", "build of the program"} {
			if theirs[i] != all[0][i] {
				return fmt.Errorf("train: rank %d has another %s than rank 0: start all ranks with the same command, on machines of one kind that share the folders (this is rank %d of %d)", r, what, rank, size)
			}
		}
	}
	return nil
}

// kind is a device's name without the number that tells it from others like it.
func kind(device string) string {
	name, which, _ := strings.Cut(device, ":")
	if _, err := strconv.Atoi(which); err == nil {
		return name
	}
	return device
}

// shareTokenizer gives every rank the tokenizer of rank 0.
func (t *Trainer) shareTokenizer() (err error) {
	rank, _ := t.cfg.Scale.ranks()
	var text []byte
	if rank == 0 {
		files, err := tokenizerFiles(t.tok)
		if err != nil {
			return fmt.Errorf("train: %w", err)
		}
		if text, err = json.Marshal(files); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	if text, err = t.cfg.Scale.broadcast(text); err != nil || rank == 0 {
		return err
	}
	files := map[string][]byte{}
	if err := json.Unmarshal(text, &files); err != nil {
		return fmt.Errorf("train: tokenizer from rank 0: %w", err)
	}
	dir, err := os.MkdirTemp("", "trit-tokenizer-")
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	defer os.RemoveAll(dir)
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o666); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	if t.tok, err = tokenizer.Load(dir); err != nil {
		return fmt.Errorf("train: tokenizer from rank 0: %w", err)
	}
	return nil
}

// reportMemory tells what the step holds, on every rank.
func (t *Trainer) reportMemory() error {
	m, err := t.engine.Memory()
	if err != nil {
		return err
	}
	all, err := t.cfg.Scale.gather([]float64{float64(m.Total())})
	if err != nil {
		return err
	}
	text := "memory of a step: " + m.String()
	if len(all) > 1 {
		var ranks []string
		for r, x := range all {
			ranks = append(ranks, fmt.Sprintf("rank %d %.1f MB", r, x[0]/1e6))
		}
		text += "; " + strings.Join(ranks, ", ")
	}
	if r := t.engine.Recomputation(); r.Nodes > 0 {
		text += fmt.Sprintf("; without recomputation %.1f MB; %d ops run twice, %.0f%% of a step's estimated cost", float64(r.Before)/1e6, r.Nodes, 100*r.Cost)
	}
	t.emit(Event{Kind: Preparing, Message: text})
	return nil
}
