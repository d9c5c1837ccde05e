package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// builder assembles files by hand, so that every field can be wrong.
type builder struct{ bytes.Buffer }

func (b *builder) u32(n uint32) *builder {
	b.Write(binary.LittleEndian.AppendUint32(nil, n))
	return b
}

func (b *builder) u64(n uint64) *builder {
	b.Write(binary.LittleEndian.AppendUint64(nil, n))
	return b
}

func (b *builder) text(s string) *builder {
	b.u64(uint64(len(s)))
	b.WriteString(s)
	return b
}

// head writes magic, version and counts.
func head(tensors, kv uint64) *builder {
	b := &builder{}
	b.WriteString("GGUF")
	return b.u32(3).u64(tensors).u64(kv)
}

func (b *builder) kv(key string, typ ValueType, payload ...byte) *builder {
	b.text(key).u32(uint32(typ)).Write(payload)
	return b
}

func (b *builder) kvText(key, value string) *builder {
	b.text(key).u32(uint32(TypeString)).text(value)
	return b
}

// tensor writes a description; dims are in the file's order.
func (b *builder) tensor(name string, typ Type, offset uint64, dims ...uint64) *builder {
	b.text(name).u32(uint32(len(dims)))
	for _, d := range dims {
		b.u64(d)
	}
	return b.u32(uint32(typ)).u64(offset)
}

// data pads to the alignment and appends n bytes.
func (b *builder) data(n int) []byte {
	for b.Len()%defaultAlignment != 0 {
		b.WriteByte(0)
	}
	b.Write(bytes.Repeat([]byte{7}, n))
	return b.Bytes()
}

func good() []byte {
	return head(2, 1).kvText("general.architecture", "bitnet-b1.58").
		tensor("a", F32, 0, 8, 2).tensor("b", I2_S, 64, 128, 4).data(64 + 128 + 32)
}

var le = binary.LittleEndian

// corrupt lists files that must be refused, with words of the error. It covers
// the kinds of llama.cpp's own hand-made files and more.
var corrupt = []struct {
	name, want string
	file       []byte
}{
	{"empty", "needs 4 bytes", nil},
	{"bad magic", "starts with", []byte("GGML aaaaaaaaaaaaaaaaaaaaaaa")},
	{"byte-swapped magic", "byte-swapped", []byte("FUGGaaaaaaaaaaaaaaaaaaaaaaaa")},
	{"version 0", "version 0", append(append([]byte("GGUF"), 0, 0, 0, 0), good()[8:]...)},
	{"version 1", "version 1", append(append([]byte("GGUF"), 1, 0, 0, 0), good()[8:]...)},
	{"future version", "version 4", append(append([]byte("GGUF"), 4, 0, 0, 0), good()[8:]...)},
	{"big-endian", "big-endian", append(append([]byte("GGUF"), 0, 0, 0, 3), good()[8:]...)},
	{"tensor count", "tensors cannot", head(math.MaxUint64, 0).data(0)},
	{"tensor count beyond file", "tensors cannot", head(3, 0).tensor("a", F32, 0, 8).Bytes()},
	{"metadata count", "entries cannot", head(0, math.MaxUint64/2).data(0)},
	{"metadata count beyond file", "entries cannot", head(0, 4).kvText("a", "b").Bytes()},
	{"key length", "exceeds the limit", head(0, 1).u64(math.MaxUint64).data(64)},
	{"key beyond file", "the file has 40 left", append(head(0, 1).u64(60000).Bytes(), make([]byte, 40)...)},
	{"empty key", "empty name", head(0, 1).kv("", TypeUint8, 1).data(9)},
	{"key not UTF-8", "UTF-8", head(0, 1).kv("a\xff", TypeUint8, 1).data(0)},
	{"value type", "unknown value type 13", head(0, 1).kv("a", 13, 0, 0, 0, 0).data(0)},
	{"value type huge", "unknown value type", head(0, 1).kv("a", math.MaxUint32, 0, 0, 0, 0).data(0)},
	{"duplicate key", "occurs twice", head(0, 2).kv("a", TypeUint8, 1).kv("a", TypeInt8, 1).data(0)},
	{"boolean 2", "boolean of value 2", head(0, 1).kv("a", TypeBool, 2).data(0)},
	{"value beyond file", "the file has", head(0, 1).kv("a", TypeUint64, 1, 2).Bytes()},
	{"string length", "exceeds the limit", head(0, 1).kv("a", TypeString, le.AppendUint64(nil, math.MaxUint64)...).data(0)},
	{"string beyond file", "the file has", head(0, 1).kv("a", TypeString, le.AppendUint64(nil, 1000)...).data(0)},
	{"array of arrays", "nesting", (&builder{*bytes.NewBuffer(head(0, 1).kv("a", TypeArray).u32(uint32(TypeArray)).u64(1).u32(0).u64(0).Bytes())}).data(0)},
	{"array of unknown type", "unknown value type", head(0, 1).kv("a", TypeArray).u32(99).u64(1).u32(0).data(0)},
	{"array length", "the file has", head(0, 1).kv("a", TypeArray).u32(uint32(TypeUint8)).u64(math.MaxUint64).data(0)},
	{"array length overflow", "the file has", head(0, 1).kv("a", TypeArray).u32(uint32(TypeUint64)).u64(math.MaxUint64/8 + 2).data(0)},
	{"string array length", "the file has", head(0, 1).kv("a", TypeArray).u32(uint32(TypeString)).u64(1 << 40).data(0)},
	{"string array element", "element 1", head(0, 1).kv("a", TypeArray).u32(uint32(TypeString)).u64(2).text("x").u64(1 << 50).data(64)},
	{"alignment 0", "power of two", head(0, 1).kv("general.alignment", TypeUint32, 0, 0, 0, 0).data(0)},
	{"alignment 33", "power of two", head(0, 1).kv("general.alignment", TypeUint32, 33, 0, 0, 0).data(0)},
	{"alignment huge", "power of two", head(0, 1).kv("general.alignment", TypeUint32, 0, 0, 0, 128).data(0)},
	{"alignment type", "of type u64", head(0, 1).kv("general.alignment", TypeUint64, 32, 0, 0, 0, 0, 0, 0, 0).data(0)},
	{"tensor name length", "exceeds the limit", head(1, 0).tensor(strings.Repeat("n", 64), F32, 0, 8).data(32)},
	{"tensor name empty", "empty name", head(1, 0).tensor("", F32, 0, 8).data(32)},
	{"tensor name not UTF-8", "UTF-8", head(1, 0).tensor("\xc3(", F32, 0, 8).data(32)},
	{"duplicate tensor", "occurs twice", head(2, 0).tensor("a", F32, 0, 8).tensor("a", F32, 32, 8).data(64)},
	{"five dimensions", "5 dimensions", head(1, 0).tensor("a", F32, 0, 1, 1, 1, 1, 8).data(32)},
	{"no dimension", "0 dimensions", head(1, 0).tensor("a", F32, 0).data(32)},
	{"extent 0", "extent 0", head(1, 0).tensor("a", F32, 0, 8, 0).data(32)},
	{"extent negative", "extent 18446744073709551608", head(1, 0).tensor("a", F32, 0, math.MaxUint64-7).data(32)},
	{"too many elements", "2^40", head(1, 0).tensor("a", F32, 0, 1<<30, 1<<30).data(32)},
	{"elements overflow", "2^40", head(1, 0).tensor("a", F32, 0, 1<<30, 1<<30, 1<<30, 1<<30).data(32)},
	{"row not whole blocks", "whole number of Q8_0", head(1, 0).tensor("a", Q8_0, 0, 33).data(64)},
	{"TQ row not whole blocks", "whole number of TQ2_0", head(1, 0).tensor("a", TQ2_0, 0, 128, 2).data(66)},
	{"I2_S not whole bytes", "whole bytes", head(1, 0).tensor("a", I2_S, 0, 3, 3).data(64)},
	{"unknown type", "unknown type number 77", head(1, 0).tensor("a", 77, 0, 8).data(32)},
	{"type number of our own", "unknown type", head(1, 0).tensor("a", TL2, 0, 8).data(32)},
	{"removed type", "unknown type number 4", head(1, 0).tensor("a", 4, 0, 32).data(32)},
	{"offset misaligned", "no multiple", head(1, 0).tensor("a", F32, 16, 8).data(64)},
	{"offset absurd", "outside every file", head(1, 0).tensor("a", F32, math.MaxUint64-31, 8).data(64)},
	{"offset outside", "outside the file", head(1, 0).tensor("a", F32, 64, 8).data(64)},
	{"data cut", "outside the file", good()[:len(good())-1]},
	{"no data", "outside the file", head(1, 0).tensor("a", F32, 0, 8).data(0)},
	{"overlap", "overlaps", head(2, 0).tensor("a", F32, 0, 16).tensor("b", F32, 32, 8).data(64)},
	{"same place", "overlaps", head(2, 0).tensor("a", F32, 32, 8).tensor("b", F32, 32, 8).data(64)},
	{"inside", "overlaps", head(2, 0).tensor("a", F32, 0, 32).tensor("b", F32, 32, 8).data(128)},
	{"custom alignment not kept", "no multiple", head(1, 1).kv("general.alignment", TypeUint32, 64, 0, 0, 0).tensor("a", F32, 32, 8).data(128)},
	{"I2_S tail cut", "outside the file", head(1, 0).tensor("a", I2_S, 0, 128).data(32 + 31)},
}

func TestCorrupt(t *testing.T) {
	if _, err := Parse(good()); err != nil {
		t.Fatalf("the intact file fails: %v", err)
	}
	for _, c := range corrupt {
		_, err := Parse(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestEveryTruncationFails(t *testing.T) {
	whole := good()
	for n := range whole {
		if _, err := Parse(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(whole))
		}
	}
}

// Of a remote file a growing prefix is fetched until the header fits.
func TestPrefixOfALargerFile(t *testing.T) {
	whole := good()
	f, err := Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	end := int(f.Tensors[0].Offset)
	enough := false
	for n := range end + 1 {
		h, err := ReadHeader(whole[:n], int64(len(whole)))
		if err == nil {
			enough = true
			if diff := cmp.Diff(f.Tensors, h.Tensors); diff != "" {
				t.Fatal(diff)
			}
		} else if !errors.Is(err, io.ErrUnexpectedEOF) || enough {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if !enough {
		t.Error("the whole header was not enough")
	}
}

func TestAbsurdCountsAllocateLittle(t *testing.T) {
	file := head(1<<20, 1<<20).data(64 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(file)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 1<<20 {
		t.Errorf("%v after allocating %d bytes", err, got)
	}
}

func TestTypeNumberThatForksShare(t *testing.T) {
	for arch, want := range map[string]Type{"bitnet-b1.58": TL2, "bitnet-25": TL2, "llama": MXFP4} {
		f, err := Parse(head(1, 1).kvText("general.architecture", arch).tensor("a", 39, 0, 32).data(32))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Tensors[0].Type; got != want {
			t.Errorf("%s: number 39 is %v, want %v", arch, got, want)
		}
	}
	f, err := Parse(head(1, 0).tensor("a", TL1, 0, 32).data(32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bytes(f.Tensors[0]); err == nil {
		t.Error("bytes of a tensor of unknown size were handed out")
	}
}

func TestRoundTrip(t *testing.T) {
	kv := []KV{
		{"general.architecture", Text("bitnet-b1.58")},
		{"n", Uint32(math.MaxUint32)}, {"f", Float32(1e-5)}, {"yes", Bool(true)}, {"no", Bool(false)},
		{"tokens", Texts([]string{"a", "", "\xff not UTF-8", "é"})},
		{"types", Int32s([]int32{1, -1, math.MinInt32})},
		{"scores", Float32s([]float32{0, -1.5})},
		{"none", Texts(nil)},
	}
	data := map[string][]byte{
		"a": bytes.Repeat([]byte{1}, 4*6), "b": bytes.Repeat([]byte{2}, 66*2), "c": bytes.Repeat([]byte{3}, 128+32), "d": {9, 9},
	}
	load := func(name string) func() ([]byte, error) { return func() ([]byte, error) { return data[name], nil } }
	entries := []Entry{
		{"a", F32, []int{2, 3}, load("a")}, {"b", TQ2_0, []int{2, 256}, load("b")},
		{"c", I2_S, []int{4, 128}, load("c")}, {"d", F16, []int{1}, load("d")},
	}
	var buf bytes.Buffer
	if err := Write(&buf, kv, entries); err != nil {
		t.Fatal(err)
	}
	f, err := Parse(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.KV) != len(kv) || f.Architecture() != "bitnet-b1.58" || f.Version != 3 {
		t.Errorf("%d entries, architecture %q, version %d", len(f.KV), f.Architecture(), f.Version)
	}
	for i, e := range kv {
		if f.KV[i].Key != e.Key || !f.KV[i].Value.Equal(e.Value) {
			t.Errorf("%s: %v, want %v", e.Key, f.KV[i].Value, e.Value)
		}
	}
	for i, e := range entries {
		got := f.Tensors[i]
		b, err := f.Bytes(got)
		if err != nil || got.Name != e.Name || got.Type != e.Type || !slices.Equal(got.Dims, e.Dims) || !bytes.Equal(b, data[e.Name]) {
			t.Errorf("%+v, want %+v; %v", got, e, err)
		}
	}
	v2 := bytes.Clone(buf.Bytes())
	v2[4] = 2
	if _, err := Parse(v2); err != nil {
		t.Errorf("version 2: %v", err)
	}
}

func TestAccessors(t *testing.T) {
	if s, ok := Texts([]string{"a", "bc", ""}).Texts(); !ok || !slices.Equal(s, []string{"a", "bc", ""}) {
		t.Errorf("texts %q", s)
	}
	if n, ok := Int32s([]int32{-5, 7}).Ints(); !ok || !slices.Equal(n, []int64{-5, 7}) {
		t.Errorf("ints %v", n)
	}
	if x, ok := Float32s([]float32{1.5}).Float32s(); !ok || !slices.Equal(x, []float32{1.5}) {
		t.Errorf("floats %v", x)
	}
	if b, ok := Bool(true).Bool(); !ok || !b {
		t.Error("bool")
	}
	if _, ok := Text("x").Int(); ok {
		t.Error("a string is an integer")
	}
	if _, ok := Float32(1).Int(); ok {
		t.Error("a float is an integer")
	}
	for typ, raw := range map[ValueType][]byte{
		TypeUint8: {200}, TypeInt8: {200}, TypeUint16: {0, 200}, TypeInt16: {0, 200}, TypeUint32: {0, 0, 0, 200},
		TypeInt32: {0, 0, 0, 200}, TypeInt64: {0, 0, 0, 0, 0, 0, 0, 200},
	} {
		want := map[ValueType]int64{TypeUint8: 200, TypeInt8: -56, TypeUint16: 51200, TypeInt16: -14336,
			TypeUint32: 3355443200, TypeInt32: -939524096, TypeInt64: -56 << 56}[typ]
		if n, ok := (Value{Type: typ, raw: raw}).Int(); !ok || n != want {
			t.Errorf("%s: %d, want %d", typ, n, want)
		}
	}
	if _, ok := (Value{Type: TypeUint64, raw: []byte{0, 0, 0, 0, 0, 0, 0, 200}}).Int(); ok {
		t.Error("a u64 beyond int64 was accepted")
	}
}

func TestWriteRejects(t *testing.T) {
	load := func() ([]byte, error) { return make([]byte, 4), nil }
	for name, c := range map[string]struct {
		kv      []KV
		entries []Entry
	}{
		"key twice":    {[]KV{{"a", Bool(true)}, {"a", Bool(true)}}, nil},
		"key not text": {[]KV{{"\xff", Bool(true)}}, nil},
		"alignment":    {[]KV{{"general.alignment", Uint32(64)}}, nil},
		"tensor twice": {nil, []Entry{{"a", F32, []int{1}, load}, {"a", F32, []int{1}, load}}},
		"long name":    {nil, []Entry{{strings.Repeat("n", 64), F32, []int{1}, load}}},
		"wrong size":   {nil, []Entry{{"a", F32, []int{2}, load}}},
		"blocks":       {nil, []Entry{{"a", Q8_0, []int{33}, load}}},
		"TL1":          {nil, []Entry{{"a", TL1, []int{256}, load}}},
		"no extents":   {nil, []Entry{{"a", F32, nil, load}}},
		"load":         {nil, []Entry{{"a", F32, []int{1}, func() ([]byte, error) { return nil, io.ErrClosedPipe }}}},
	} {
		if err := Write(io.Discard, c.kv, c.entries); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good())
	for _, c := range corrupt {
		if len(c.file) < 1<<10 {
			f.Add(c.file)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		var total int64
		for _, tensor := range file.Tensors {
			if b, err := file.Bytes(tensor); err == nil {
				total += int64(len(b))
				if CanDecode(tensor.Type) && len(b) > 0 {
					l := layouts[tensor.Type]
					_ = Decode(tensor.Type, make([]float32, len(b)/l.bytes*l.block), b)
				}
			}
		}
		if total > int64(len(data)) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
		for _, e := range file.KV {
			_ = e.Value.String()
			e.Value.Texts()
			e.Value.Ints()
			e.Value.Float32s()
			e.Value.Float()
		}
	})
}
