package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/safetensors"
)

// group is the processes that write a checkpoint together. Each holds all weights
// and some of the optimizer's tensors, and has the run folder on a file system
// that all of them see.
//
// They meet in the unfinished checkpoint: every process writes its tensors and
// then a part file, which appears when what it lists is on the disk. Process 0
// waits for all part files, joins them into the index and the manifest, and
// gives the checkpoint its name. No collective operation is needed, so writing
// does not get in the way of those of the training steps.
type group struct {
	rank, size int           // size 0 and 1 are a process alone
	patience   time.Duration // how long process 0 waits for the others
}

// part is what a process reports to process 0, in part-00002.json.
type part struct {
	Files   map[string]fileSum `json:"files"`
	Tensors map[string]string  `json:"tensors"` // to file
	Bytes   int64              `json:"bytes"`   // of all tensors
	Error   string             `json:"error,omitempty"`
}

func partFile(rank int) string { return fmt.Sprintf("part-%05d.json", rank) }

// stem is the name of this process's optimizer files.
func (g group) stem() string {
	return fmt.Sprintf("%s-rank-%05d-of-%05d", momentsStem, g.rank, g.size)
}

// writePart writes this process's share of a checkpoint; process 0 completes it.
func (w *writer) writePart(ctx context.Context, target string, p progress, s snapshot) error {
	out, err := atomicfile.JoinDir(target, fmt.Sprintf("ranks-%d", w.group.size))
	if err != nil {
		return err
	}
	mine, err := w.ownPart(out, s.State)
	if w.group.rank == 0 {
		defer out.Close()
		if err == nil {
			err = w.common(ctx, out, p, s)
		}
		if err == nil {
			err = w.join(ctx, out, mine)
		}
		return err
	}
	defer out.Leave()
	if err != nil {
		mine = part{Error: err.Error()}
	}
	// Without room for this either, process 0 gives up when its patience ends.
	return errors.Join(err, writeJSON(out.Path(partFile(w.group.rank)), mine))
}

// ownPart writes the optimizer's tensors that this process holds.
func (w *writer) ownPart(out *atomicfile.Dir, s State) (part, error) {
	me := part{Files: map[string]fileSum{}, Tensors: map[string]string{}}
	entries := momentEntries(s)
	if len(entries) == 0 {
		return me, nil
	}
	shards := safetensors.Split(entries, w.shardBytes)
	for i, shard := range shards {
		name := safetensors.ShardName(w.group.stem(), i, len(shards))
		if err := safetensors.WriteFile(out.Path(name), shard, nil); err != nil {
			return me, err
		}
		sum, err := sumFile(out.Path(name))
		if err != nil {
			return me, err
		}
		sum.Rank = w.group.rank
		me.Files[name] = sum
		for _, e := range shard {
			me.Tensors[e.Name] = name
			me.Bytes += e.Bytes()
		}
	}
	return me, nil
}

// join waits for the other processes' parts and completes the checkpoint.
func (w *writer) join(ctx context.Context, out *atomicfile.Dir, mine part) error {
	m := manifest{Ranks: w.group.size, Files: mine.Files}
	index := &safetensors.Index{WeightMap: mine.Tensors}
	index.Metadata.TotalSize = mine.Bytes
	ctx, cancel := context.WithTimeout(ctx, w.group.patience)
	defer cancel()
	for rank := 1; rank < w.group.size; rank++ {
		p, err := waitPart(ctx, out.Path(partFile(rank)))
		if err != nil {
			return fmt.Errorf("process %d of %d did not write its part of the checkpoint: %w", rank, w.group.size, err)
		}
		for tensor, file := range p.Tensors {
			if other, dup := index.WeightMap[tensor]; dup {
				return fmt.Errorf("optimizer tensor %q is written to %s and to %s", tensor, other, file)
			}
			index.WeightMap[tensor] = file
		}
		index.Metadata.TotalSize += p.Bytes
		maps.Copy(m.Files, p.Files)
		if err := os.Remove(out.Path(partFile(rank))); err != nil {
			return err
		}
	}
	if err := safetensors.WriteIndex(out.Path(safetensors.IndexName(momentsStem)), index); err != nil {
		return err
	}
	if err := summarize(out.Path("."), m.Files); err != nil {
		return err
	}
	if err := writeJSON(out.Path(manifestFile), m); err != nil {
		return err
	}
	return out.Commit()
}

// waitPart reads a part file when it appears.
func waitPart(ctx context.Context, path string) (p part, err error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if err = readJSON(path, &p); err == nil {
			if p.Error != "" {
				err = errors.New(p.Error)
			}
			return p, err
		}
		if !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, fmt.Errorf("no %s: %w", filepath.Base(path), ctx.Err())
		case <-time.After(pause):
		}
	}
}
