package checkpoint

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/atomicfile"
	"github.com/trit-ml/trit/internal/gguf"
)

// GGUFOptions say how WriteGGUF writes.
type GGUFOptions struct {
	// Type is the type of the projections: "i2_s" (the default), "tq2_0",
	// "tq1_0", or the ternary values as floats: "f32", "f16", "bf16". The
	// kernels of other engines want rows of a multiple of 128 values for i2_s;
	// the format and trit do not.
	Type string
	// Arch is general.architecture. The default follows the activation:
	// bitnet-b1.58 for squared ReLU, bitnet for SiLU.
	Arch string
	// Float is the type of embedding and head; the default is to keep theirs.
	Float graph.DType
	// Rounding allows scales and floats that the types asked for do not hold
	// exactly; without it they are an error.
	Rounding bool
	// Vocab is the vocabulary; the default is the source's, if it has one.
	Vocab *Vocab
	// Progress, if set, is called after each tensor.
	Progress func(done, total int)
}

// ggufTypes lists what projections can be written as, with general.file_type.
var ggufTypes = map[string]struct {
	typ  gguf.Type
	file uint32
}{
	"i2_s": {gguf.I2_S, 40}, "tq1_0": {gguf.TQ1_0, 36}, "tq2_0": {gguf.TQ2_0, 37},
	"f32": {gguf.F32, 0}, "f16": {gguf.F16, 1}, "bf16": {gguf.BF16, 32},
}

var floatTypes = map[graph.DType]gguf.Type{graph.F32: gguf.F32, graph.F16: gguf.F16, graph.BF16: gguf.BF16}

// WriteGGUF writes m as one GGUF file; masters are quantised. It fails before
// it writes if the result would not be the same model, unless o.Rounding.
func WriteGGUF(ctx context.Context, m *Model, path string, o GGUFOptions) error {
	w, err := newGGUFWriter(ctx, m, o)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := bufio.NewWriterSize(f, 1<<20)
	if err := gguf.Write(buf, w.kv, w.entries); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

type ggufWriter struct {
	ctx     context.Context
	m       *Model
	o       GGUFOptions
	typ     gguf.Type
	kv      []gguf.KV
	entries []gguf.Entry
	codes   []int8 // shared: tensors are written one after the other
	bytes   []byte
	done    int
	last    string
}

func newGGUFWriter(ctx context.Context, m *Model, o GGUFOptions) (*ggufWriter, error) {
	if o.Type == "" {
		o.Type = "i2_s"
	}
	typ, ok := ggufTypes[o.Type]
	if !ok {
		return nil, fmt.Errorf("unknown projection type %q; want i2_s, tq2_0, tq1_0, f32, f16 or bf16", o.Type)
	}
	if o.Vocab == nil {
		o.Vocab = m.Vocab()
	}
	w := &ggufWriter{ctx: ctx, m: m, o: o, typ: typ.typ}
	if err := w.setArch(); err != nil {
		return nil, err
	}
	if err := w.metadata(typ.file); err != nil {
		return nil, err
	}
	for _, s := range m.specs {
		add := w.addFloat
		if s.Linear {
			add = w.addLinear
		}
		if err := add(s); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", s.Name, err)
		}
		m.Forget(s.Name)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// setArch refuses what engines would run as another model.
func (w *ggufWriter) setArch() error {
	c := &w.m.cfg
	if w.o.Arch == "" {
		w.o.Arch = arch158
		if c.Act == SiLU {
			w.o.Arch = archOld
		}
	}
	switch {
	case c.Group != 0:
		return c.errGroups("GGUF")
	case c.ActBits == 4:
		return errors.New("engines quantize the activations of GGUF models to 8 bits, the model has 4; write a Hugging Face folder instead")
	case c.ProjNorm:
		return errors.New("GGUF's bitnet architectures have no norms inside the projections, the model has; write a Hugging Face folder instead")
	case !c.SubNorm:
		return errors.New("GGUF's bitnet architectures have norms before o_proj and down_proj, the model has none; write a Hugging Face folder instead")
	case w.o.Arch == archOld && c.Act != SiLU:
		return errors.New("llama.cpp runs architecture bitnet with SiLU, the model has squared ReLU; use bitnet-b1.58")
	case w.o.Arch == archOld && !c.Tied:
		return errors.New("architecture bitnet has no head of its own, the model's head is not the embedding; use bitnet-b1.58")
	case (w.o.Arch == arch25 || w.o.Arch == arch158) && c.Act != ReLU2:
		return fmt.Errorf("engines run architecture %s with squared ReLU, the model has %s; use bitnet", w.o.Arch, c.Act)
	case w.o.Arch != archOld && w.o.Arch != arch25 && w.o.Arch != arch158:
		return fmt.Errorf("unknown architecture %q; want %s, %s or %s", w.o.Arch, archOld, arch25, arch158)
	}
	return nil
}

func (w *ggufWriter) metadata(fileType uint32) error {
	c := &w.m.cfg
	arch := w.o.Arch
	put := func(key string, v gguf.Value) { w.kv = append(w.kv, gguf.KV{Key: key, Value: v}) }
	num := func(key string, n int) { put(arch+"."+key, gguf.Uint32(uint32(n))) }
	put("general.architecture", gguf.Text(arch))
	if c.Name != "" {
		put("general.name", gguf.Text(c.Name))
	}
	put("general.file_type", gguf.Uint32(fileType))
	put("general.quantization_version", gguf.Uint32(2))
	num("vocab_size", c.Vocab)
	num("context_length", max(c.Context, 1))
	num("embedding_length", c.Hidden)
	num("block_count", c.Layers)
	num("feed_forward_length", c.FFN)
	num("rope.dimension_count", c.HeadDim)
	num("attention.head_count", c.Heads)
	num("attention.head_count_kv", c.KVHeads)
	put(arch+".attention.layer_norm_rms_epsilon", gguf.Float32(float32(c.NormEps)))
	put(arch+".rope.freq_base", gguf.Float32(float32(c.Theta)))
	if w.typ == gguf.I2_S {
		put(orderKey, gguf.Text(I2SX86.String()))
	}
	kv, err := vocabMetadata(w.o.Vocab, c)
	w.kv = append(w.kv, kv...)
	return err
}

func (w *ggufWriter) addFloat(s Spec) error {
	t, err := w.m.src.float(s)
	if err != nil {
		return err
	}
	// ggml multiplies norms in f32 only.
	elem := graph.F32
	if len(s.Dims) == 2 {
		elem = t.Elem
		if w.o.Float != graph.InvalidDType {
			elem = w.o.Float
		}
		if elem == graph.F64 {
			elem = graph.F32
		}
	}
	typ, ok := floatTypes[elem]
	if !ok {
		return fmt.Errorf("floats cannot be written as %v", elem)
	}
	if err := canRound(t, elem, w.o.Rounding); err != nil {
		return err
	}
	w.entries = append(w.entries, gguf.Entry{Name: ggufName(s.Name), Type: typ, Dims: s.Dims, Load: func() ([]byte, error) {
		t, err := w.m.src.float(s)
		if err != nil {
			return nil, err
		}
		return Round(t, elem).Data, w.step(s)
	}})
	return nil
}

func (w *ggufWriter) addLinear(s Spec) error {
	size, err := gguf.Size(w.typ, s.Dims)
	if err != nil {
		return fmt.Errorf("%w; i2_s and the float types have no such blocks", err)
	}
	if w.typ == gguf.I2_S && s.Dims[0]*s.Dims[1]%128 != 0 {
		return fmt.Errorf("%v values are no whole number of I2_S blocks of 128; write f16, bf16 or f32", s.Dims)
	}
	apart := false // the scale is written as a tensor of its own
	if w.typ != gguf.I2_S && w.typ != gguf.F32 {
		_, gamma, err := w.unpack(s)
		if err != nil {
			return err
		}
		if held := w.held(gamma); held != gamma {
			switch {
			case w.o.Arch == archOld:
				apart = true
			case !w.o.Rounding:
				return fmt.Errorf("its scale %v would become %v as %s; write i2_s or f32, which hold it, or allow rounding", gamma, held, w.typ)
			}
		}
		if apart {
			w.entries = append(w.entries, gguf.Entry{Name: scaleName(ggufName(s.Name)), Type: gguf.F32, Dims: []int{1}, Load: func() ([]byte, error) {
				return graph.FromF32([]float32{gamma}, 1).Data, nil
			}})
		}
	}
	w.entries = append(w.entries, gguf.Entry{Name: ggufName(s.Name), Type: w.typ, Dims: s.Dims, Load: func() ([]byte, error) {
		codes, gamma, err := w.unpack(s)
		if err != nil {
			return nil, err
		}
		if apart {
			gamma = 1
		}
		if err := w.pack(codes, gamma, size); err != nil {
			return nil, err
		}
		return w.bytes[:size], w.step(s)
	}})
	return nil
}

// held is the scale as the file's type keeps it.
func (w *ggufWriter) held(gamma float32) float32 {
	if w.typ == gguf.BF16 {
		return graph.BF16ToF32(graph.F32ToBF16(gamma))
	}
	return graph.F16ToF32(graph.F32ToF16(gamma))
}

func (w *ggufWriter) unpack(s Spec) ([]int8, float32, error) {
	n := s.Dims[0] * s.Dims[1]
	if cap(w.codes) < n {
		w.codes = make([]int8, n)
	}
	gamma, err := Linear{s, w.m.src.form(s), w.m.src}.Unpack(w.codes[:n])
	return w.codes[:n], gamma, err
}

// pack fills w.bytes[:size] with the projection in the file's type.
func (w *ggufWriter) pack(codes []int8, gamma float32, size int64) error {
	if int64(cap(w.bytes)) < size {
		w.bytes = make([]byte, size)
	}
	dst := w.bytes[:size]
	switch w.typ {
	case gguf.I2_S:
		return gguf.PackI2S(dst, codes, gamma)
	case gguf.TQ1_0, gguf.TQ2_0:
		return gguf.PackTQ(w.typ, dst, codes, gamma)
	}
	var vals [part]float32
	width := int(size) / len(codes)
	for at := 0; at < len(codes); at += part {
		n := min(part, len(codes)-at)
		for i, c := range codes[at : at+n] {
			vals[i] = gamma * float32(c)
		}
		if err := gguf.Encode(w.typ, dst[at*width:(at+n)*width], vals[:n]); err != nil {
			return err
		}
	}
	return nil
}

// step notes that a tensor was produced; the one before it has been written.
func (w *ggufWriter) step(s Spec) error {
	w.done++
	w.m.Forget(w.last)
	w.last = s.Name
	if w.o.Progress != nil {
		w.o.Progress(w.done, len(w.m.specs))
	}
	return w.ctx.Err()
}
