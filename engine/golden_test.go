package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/auto"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/runtime"
)

// strictBound is what the reference files demand of logits on inputs that stay
// clear of rounding ties.
const strictBound = 1e-4

var published = []string{"pub_a_gqa2_tied_bf16", "pub_b_gqa4_odd_untied_bf16", "pub_c_mqa4_untied_f32", "pub_d_k256_tied_bf16"}

// onDevices runs f on every device this machine has, with one and two threads.
// devicesUnderTest are those of TRIT_DEVICES, or all.
func devicesUnderTest() []string {
	if names := os.Getenv("TRIT_DEVICES"); names != "" {
		return strings.Split(names, ",")
	}
	return []string{"ref", "neon", "avx2", "avx", "cuda"}
}

func onDevices(t *testing.T, f func(t *testing.T, dev devices.Device)) {
	for _, name := range devicesUnderTest() {
		for _, threads := range []int{1, 2} {
			if name == "cuda" && threads > 1 {
				continue
			}
			dev, _, err := auto.Open(auto.Options{Name: name, Threads: threads})
			if err != nil {
				t.Logf("not run on %s: %v", name, err)
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, threads), func(t *testing.T) { f(t, dev) })
			dev.Close()
		}
	}
}

func open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func reference(t *testing.T, name string) func(tensor string) graph.Tensor {
	t.Helper()
	f, err := safetensors.Open(golden.Path(t, name, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func(tensor string) graph.Tensor {
		t.Helper()
		x, err := f.Tensor(tensor)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

func maxDiff(t *testing.T, got, want graph.Tensor) float64 {
	t.Helper()
	if got.Len() != want.Len() || got.Len() == 0 {
		t.Fatalf("got %v, want %v", got.Dims, want.Dims)
	}
	var most float64
	for i := range got.Len() {
		most = max(most, math.Abs(got.FloatAt(i)-want.FloatAt(i)))
	}
	return most
}

// forms are the checkpoint forms of a reference model and the reference's name
// for what they compute.
func forms(t *testing.T, name string) map[string]string {
	m := map[string]string{"online": "online", "offline": "offline"}
	if dirs, _ := filepath.Glob(filepath.Join(golden.Path(t, name), "offline_bitlinear_divide")); len(dirs) > 0 {
		m["offline_bitlinear_divide"] = "offline"
	}
	return m
}

// TestLogits holds logits and hidden states of every reference model, in every
// form, to the float64 reference.
func TestLogits(t *testing.T) {
	for _, name := range published {
		ref := reference(t, name)
		for form, math := range forms(t, name) {
			m := open(t, golden.Path(t, name, form))
			t.Run(name+"/"+form, func(t *testing.T) {
				onDevices(t, func(t *testing.T, dev devices.Device) {
					logits, hidden, err := m.Logits(context.Background(), dev, ref("strict.ids").I32(), true)
					if err != nil {
						t.Fatal(err)
					}
					if d := maxDiff(t, logits, ref("strict.f64."+math+".logits")); d > strictBound {
						t.Errorf("logits differ by %.3g", d)
					}
					if len(hidden) != m.Config.Layers+1 {
						t.Fatalf("%d hidden states of %d layers", len(hidden), m.Config.Layers)
					}
					for i, h := range hidden {
						want := ref(fmt.Sprintf("strict.f32.%s.hidden.%d", math, i))
						if d := maxDiff(t, h, want); d > strictBound*max(1, largest(want)) {
							t.Errorf("hidden state %d differs by %.3g", i, d)
						}
					}
				})
			})
		}
	}
}

func largest(t graph.Tensor) float64 {
	var m float64
	for i := range t.Len() {
		m = max(m, math.Abs(t.FloatAt(i)))
	}
	return m
}

// TestBulkLogits compares statistics where rounding ties may fall either way.
func TestBulkLogits(t *testing.T) {
	for _, name := range published {
		ref := reference(t, name)
		m := open(t, golden.Path(t, name, "online"))
		want := ref("bulk.f64.online.logits")
		ids := ref("bulk.ids")
		onDevices(t, func(t *testing.T, dev devices.Device) {
			var diff, norm float64
			n := ids.Dims[1]
			for b := range ids.Dims[0] {
				logits, _, err := m.Logits(context.Background(), dev, ids.I32()[b*n:(b+1)*n], false)
				if err != nil {
					t.Fatal(err)
				}
				for i := range logits.Len() {
					w := want.FloatAt(b*logits.Len() + i)
					d := logits.FloatAt(i) - w
					diff, norm = diff+d*d, norm+w*w
				}
			}
			if rel := math.Sqrt(diff / norm); rel > 0.03 {
				t.Errorf("%s: relative difference %.3g", name, rel)
			}
		})
	}
}

func start(t *testing.T, m *Model, dev devices.Device, s Shape) *Engine {
	t.Helper()
	e, err := m.Start(context.Background(), dev, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestGreedy continues the reference prompt: the same 32 tokens in every form.
func TestGreedy(t *testing.T) {
	for _, name := range published {
		ref := reference(t, name)
		prompt, want := ref("greedy.prompt").I32(), ref("greedy.f32.online.tokens").I32()
		for form := range forms(t, name) {
			m := open(t, golden.Path(t, name, form))
			t.Run(name+"/"+form, func(t *testing.T) {
				onDevices(t, func(t *testing.T, dev devices.Device) {
					e := start(t, m, dev, Shape{Context: 64})
					if got := greedy(t, e, prompt, len(want)); !slices.Equal(got, want) {
						t.Errorf("got %v, want %v", got, want)
					}
				})
			})
		}
	}
}

func greedy(t *testing.T, e *Engine, prompt []int32, n int) []int32 {
	t.Helper()
	var got []int32
	_, err := e.Generate(context.Background(), Request{Prompt: prompt, MaxTokens: n}, func(id int32) error {
		got = append(got, id)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestAloneOrTogether checks that a request's logits are the same bits alone,
// among 64 others, with one or two threads, and with its prompt whole or cut.
func TestAloneOrTogether(t *testing.T) {
	name := published[1]
	ref := reference(t, name)
	m := open(t, golden.Path(t, name, "offline"))
	prompt := append(slices.Clone(ref("greedy.prompt").I32()), ref("greedy.f32.online.tokens").I32()...)
	for _, device := range devicesUnderTest() {
		want := map[graph.DType][]float32{}
		for _, threads := range []int{1, 2} {
			if device == "cuda" && threads > 1 {
				continue
			}
			dev, _, err := auto.Open(auto.Options{Name: device, Threads: threads})
			if err != nil {
				t.Logf("not run on %s: %v", device, err)
				continue
			}
			defer dev.Close()
			for _, s := range []Shape{
				{Context: 64, Seqs: 1, Chunk: 64, Block: 16},
				{Context: 64, Seqs: 1, Chunk: 5, Block: 16},
				{Context: 64, Seqs: 64, Chunk: 100, Block: 16},
				{Context: 64, Seqs: 1, Chunk: 64, Block: 16, Cache: graph.F16},
				{Context: 64, Seqs: 1, Chunk: 2, Block: 16, Cache: graph.F16},
				{Context: 64, Seqs: 64, Chunk: 100, Block: 16, Cache: graph.F16},
			} {
				e := start(t, m, dev, s)
				got := lastLogits(t, e, prompt, s.Seqs)
				if want[s.Cache] == nil {
					want[s.Cache] = got
				} else if !slices.Equal(want[s.Cache], got) {
					t.Errorf("%s with %d threads, %+v: other logits than alone with one thread", device, threads, s)
				}
			}
		}
	}
}

// lastLogits feeds prompt to the last of n sequences; the others get others.
func lastLogits(t *testing.T, e *Engine, prompt []int32, n int) []float32 {
	t.Helper()
	var last runtime.Seq
	for i := range n {
		q, err := e.Session.Open()
		if err != nil {
			t.Fatal(err)
		}
		text := prompt
		if i < n-1 {
			text = prompt[i%7 : i%7+1+i%20]
		}
		if err := e.Session.Feed(q, runtime.LastLogits, text...); err != nil {
			t.Fatal(err)
		}
		last = q
	}
	var got []float32
	for {
		more, err := e.Session.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if l := e.Session.Logits(last); l != nil {
			got = slices.Clone(l)
		}
		if !more {
			return got
		}
	}
}

// TestConverted runs a model through every form that convert writes and back:
// the same greedy tokens each time.
func TestConverted(t *testing.T) {
	dev, _, err := auto.Open(auto.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	name := published[3]
	ref := reference(t, name)
	prompt, want := ref("greedy.prompt").I32(), ref("greedy.f32.online.tokens").I32()
	for _, to := range checkpoint.Forms() {
		t.Run(to, func(t *testing.T) {
			src := open(t, golden.Path(t, name, map[bool]string{true: "online", false: "offline"}[to == "online"]))
			path := filepath.Join(t.TempDir(), "model.gguf")
			if to == "online" || to == "offline" {
				path = filepath.Join(t.TempDir(), "model")
			}
			rounds := to == "tq1_0" || to == "tq2_0" || to == "f16"
			o := checkpoint.ConvertOptions{To: to, Verify: !rounds, Rounding: rounds}
			if err := src.Translate(&o); err != nil {
				t.Fatal(err)
			}
			if err := checkpoint.Convert(context.Background(), src.Checkpoint, path, o); err != nil {
				t.Fatal(err)
			}
			e := start(t, open(t, path), dev, Shape{Context: 64})
			if got := greedy(t, e, prompt, len(want)); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
