package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/train/data"
)

// Names inside a run folder; see the package documentation.
const (
	checkpointsDir = "checkpoints"
	stepPrefix     = "step-"
	modelDir       = "model"
	configFile     = "config.json"
	weightsStem    = "model"     // .safetensors, or shards with an index
	momentsStem    = "optimizer" // .safetensors, or shards with an index
	statsFile      = "statistics.safetensors"
	progressFile   = "train.json"
	manifestFile   = "manifest.json"
	cacheDir       = "data"
	lockFile       = "lock"
	metricsFile    = "metrics.csv"
	weightsFile    = "weights.csv"
	boardDir       = "tensorboard"
)

// progress is train.json: everything but tensors that resuming needs.
type progress struct {
	Format   int           `json:"format"`
	Version  string        `json:"version,omitempty"` // of the program
	Device   string        `json:"device"`
	Step     int           `json:"step"`
	Position data.Position `json:"position"`
	Data     string        `json:"data"`           // data.Tokens.ID
	Base     string        `json:"base,omitempty"` // digest of the checkpoint that adapters are for
	Custom   bool          `json:"custom,omitempty"`
	Last     *Validated    `json:"last,omitempty"`
	Best     *Validated    `json:"best,omitempty"`
	Config   Config        `json:"config"`
}

const progressFormat = 1

// Validated is a validation result.
type Validated struct {
	Step        int     `json:"step"`
	Loss        float64 `json:"loss"` // nats per token
	BitsPerByte float64 `json:"bits_per_byte"`
}

// manifest lists the files of a checkpoint, by path with slashes.
type manifest struct {
	Ranks int                `json:"ranks"` // processes that wrote it
	Files map[string]fileSum `json:"files"`
}

type fileSum struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Rank   int    `json:"rank,omitempty"` // of the process that wrote the file
}

func stepName(step int) string { return fmt.Sprintf("%s%08d", stepPrefix, step) }

// listSteps returns the steps that have a checkpoint, the newest first.
func listSteps(parent string) ([]int, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), stepPrefix); ok && e.IsDir() {
			if n, err := strconv.Atoi(digits); err == nil && stepName(n) == e.Name() {
				steps = append(steps, n)
			}
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, nil
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// summarize adds the files under root that have no sum yet.
func summarize(root string, sums map[string]fileSum) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); sums[rel].SHA256 == "" {
			sums[rel], err = sumFile(name)
		}
		return err
	})
}

func sumFile(name string) (fileSum, error) {
	f, err := os.Open(name)
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return fileSum{Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
