package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/trit-ml/trit/graph"
)

// ConvertOptions say what Convert writes.
type ConvertOptions struct {
	// To names the form: "online" and "offline" are Hugging Face folders, all
	// others GGUF files by the type of their projections; see GGUFOptions.Type.
	To string
	// Arch and Vocab are those of GGUFOptions, Scale and Files those of
	// FolderOptions, Float and Rounding those of both.
	Arch     string
	Float    graph.DType
	Rounding bool
	Vocab    *Vocab
	Scale    graph.DType
	Files    map[string][]byte
	// Verify reads the result again and compares it with the source; see Verify.
	Verify   bool
	Progress func(done, total int)
}

// Forms lists what Convert can write.
func Forms() []string {
	return []string{"online", "offline", "i2_s", "tq2_0", "tq1_0", "f32", "f16", "bf16"}
}

// Convert writes m to dst in another form, one tensor at a time.
func Convert(ctx context.Context, m *Model, dst string, o ConvertOptions) error {
	var err error
	switch {
	case o.Verify && o.Rounding:
		return errors.New("verifying compares every value exactly, so it cannot go with rounding: leave one of the two out")
	case !slices.Contains(Forms(), o.To):
		return fmt.Errorf("unknown form %q; want one of %s", o.To, strings.Join(Forms(), ", "))
	case o.To == "online" || o.To == "offline":
		form := Masters
		if o.To == "offline" {
			form = Ternary
		}
		err = WriteFolder(ctx, m, dst, FolderOptions{
			Form: form, Scale: o.Scale, Float: o.Float, Rounding: o.Rounding, Files: o.Files, Progress: o.Progress,
		})
	default:
		err = WriteGGUF(ctx, m, dst, GGUFOptions{
			Type: o.To, Arch: o.Arch, Float: o.Float, Rounding: o.Rounding, Vocab: o.Vocab, Progress: o.Progress,
		})
	}
	if err != nil || !o.Verify {
		return err
	}
	got, err := Open(dst)
	if err != nil {
		return fmt.Errorf("verify %s: %w", dst, err)
	}
	defer got.Close()
	if err := Verify(ctx, m, got); err != nil {
		return fmt.Errorf("verify %s: %w", dst, err)
	}
	return nil
}

// maxDifferences bounds Verify's report.
const maxDifferences = 8

// Verify compares two checkpoints of one model: the architecture, every ternary
// code and scale, and every float, all exactly. Masters are compared as the
// ternary weights that they stand for. The error lists the differences.
func Verify(ctx context.Context, want, got *Model) error {
	if err := sameModel(want.Config(), got.Config()); err != nil {
		return err
	}
	var errs []error
	var a, b []int8
	for _, s := range want.specs {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if s.Linear && want.cfg.Group == 0 {
			n := s.Dims[0] * s.Dims[1]
			if cap(a) < n {
				a, b = make([]int8, n), make([]int8, n)
			}
			err = sameLinear(want, got, s, a[:n], b[:n])
		} else {
			err = sameFloat(want, got, s)
		}
		want.Forget(s.Name)
		got.Forget(s.Name)
		if err != nil {
			errs = append(errs, err)
		}
		if len(errs) == maxDifferences {
			return errors.Join(append(errs, errors.New("and perhaps more"))...)
		}
	}
	return errors.Join(errs...)
}

// sameModel compares what decides the computation.
func sameModel(a, b Config) error {
	type shape struct {
		vocab, hidden, ffn, layers, heads, kv, head int
		act                                         string
		subNorm, tied, projNorm                     bool
		actBits, group                              int
		eps, theta                                  float32
	}
	of := func(c Config) shape {
		return shape{c.Vocab, c.Hidden, c.FFN, c.Layers, c.Heads, c.KVHeads, c.HeadDim, c.Act, c.SubNorm, c.Tied, c.ProjNorm, cmp.Or(c.ActBits, 8), c.Group, float32(c.NormEps), float32(c.Theta)}
	}
	if of(a) != of(b) {
		return fmt.Errorf("the architectures differ: %+v and %+v", of(a), of(b))
	}
	return nil
}

func sameLinear(want, got *Model, s Spec, a, b []int8) error {
	ga, err := Linear{s, want.src.form(s), want.src}.Unpack(a)
	if err != nil {
		return err
	}
	gb, err := Linear{s, got.src.form(s), got.src}.Unpack(b)
	if err != nil {
		return err
	}
	if !slices.Equal(a, b) {
		n := 0
		for i := range a {
			if a[i] != b[i] {
				n++
			}
		}
		return fmt.Errorf("tensor %s: %d of %d codes differ", s.Name, n, len(a))
	}
	if ga != gb {
		return fmt.Errorf("tensor %s: scale %v became %v", s.Name, ga, gb)
	}
	return nil
}

func sameFloat(want, got *Model, s Spec) error {
	a, err := want.float(s)
	if err != nil {
		return err
	}
	b, err := got.float(s)
	if err != nil {
		return err
	}
	if a.Len() != b.Len() {
		return fmt.Errorf("tensor %s: %d elements became %d", s.Name, a.Len(), b.Len())
	}
	if i := firstDifference(a, b); i >= 0 {
		return fmt.Errorf("tensor %s: element %d was %v (%v) and became %v (%v)", s.Name, i, a.FloatAt(i), a.Elem, b.FloatAt(i), b.Elem)
	}
	return nil
}
