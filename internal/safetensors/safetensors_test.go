package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
)

// raw assembles a file from a header text and data.
func raw(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func withLength(n uint64, rest string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
}

// Every file of the reference set that the reference implementation wrote is
// read and written back to the same bytes; formats.safetensors was assembled
// by hand in another order.
func TestGoldenFilesRewriteIdentically(t *testing.T) {
	count := 0
	err := filepath.WalkDir(golden.Dir(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".safetensors" {
			return err
		}
		if d.Name() == "formats.safetensors" {
			return nil
		}
		count++
		f, err := Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		var entries []Entry
		for _, info := range f.Tensors {
			tensor, err := f.Tensor(info.Name)
			if err != nil {
				return err
			}
			entries = append(entries, EntryOf(info.Name, tensor))
		}
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		var buf bytes.Buffer
		if err := Write(&buf, entries, f.Metadata); err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(buf.Bytes(), want) {
			t.Errorf("%s: rewritten file differs", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 10 {
		t.Errorf("only %d files found", count)
	}
}

func TestRoundTrip(t *testing.T) {
	tensors := map[string]graph.Tensor{
		"scalar":        graph.FromF32([]float32{float32(math.Pi)}),
		"empty":         graph.FromF32(nil, 3, 0, 2),
		"codes":         graph.FromI8([]int8{-1, 0, 1, 1, 0, -1}, 2, 3),
		"ids":           graph.FromI32([]int32{math.MinInt32, 0, math.MaxInt32}, 3),
		`"<ü>"\` + "\n": graph.NewTensor(graph.BF16, 5),
		"half":          graph.NewTensor(graph.F16, 1, 1, 3),
		"wide":          graph.NewTensor(graph.F64, 2),
		"long":          graph.NewTensor(graph.I64, 2),
		"bytes":         graph.NewTensor(graph.U8, 7),
	}
	var entries []Entry
	for name, tensor := range tensors {
		entries = append(entries, EntryOf(name, tensor))
	}
	meta := map[string]string{"format": "pt", "b": "<&>", "a": ""}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteFile(path, entries, meta); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if diff := cmp.Diff(meta, f.Metadata); diff != "" {
		t.Error(diff)
	}
	if len(f.Tensors) != len(tensors) {
		t.Errorf("%d tensors, want %d", len(f.Tensors), len(tensors))
	}
	for name, want := range tensors {
		got, err := f.Tensor(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Elem != want.Elem || len(got.Dims) != len(want.Dims) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%q: got %v%v, want %v%v", name, got.Elem, got.Dims, want.Elem, want.Dims)
		}
	}
	if f.Tensors[0].Offset%8 != 0 {
		t.Errorf("data starts at %d", f.Tensors[0].Offset)
	}
	if _, err := f.Tensor("absent"); err == nil {
		t.Error("an absent tensor was found")
	}
}

const one = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`

// Corrupt files and the words their errors must contain.
var corrupt = []struct {
	name, want string
	file       []byte
}{
	{"empty file", "too few", nil},
	{"seven bytes", "too few", []byte("1234567")},
	{"length only", "cannot hold", withLength(0, "")},
	{"length one", "cannot hold", withLength(1, "{")},
	{"length beyond file", "truncated", withLength(100, one)},
	{"length beyond limit", "exceeds the limit", withLength(MaxHeader+1, one)},
	{"length negative as int64", "exceeds the limit", withLength(math.MaxUint64, one)},
	{"not an object", "not with '{'", raw(`["a"]`, "")},
	{"leading blank", "not with '{'", raw(" "+one, "12345678")},
	{"broken JSON", "header at offset", raw(`{"a":{"dtype":`, "")},
	{"trailing JSON", "after the closing brace", raw(one+"{}", "12345678")},
	{"not UTF-8", "UTF-8", raw("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", "")},
	{"duplicate tensor", "occurs twice", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12")},
	{"duplicate tensor, escaped", "occurs twice", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12")},
	{"duplicate field", "occurs twice", raw(`{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, "1")},
	{"duplicate metadata", "occurs twice", raw(`{"__metadata__":{"x":"1","x":"2"}}`, "")},
	{"metadata not strings", "where a string belongs", raw(`{"__metadata__":{"x":1}}`, "")},
	{"metadata not an object", "__metadata__", raw(`{"__metadata__":[]}`, "")},
	{"unknown field", "unknown field", raw(`{"a":{"dtype":"U8","Shape":[1],"shape":[1],"data_offsets":[0,1]}}`, "1")},
	{"missing field", "needs dtype", raw(`{"a":{"dtype":"U8","shape":[1]}}`, "1")},
	{"unknown dtype", "unknown dtype", raw(`{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}`, strings.Repeat("1", 16))},
	{"negative extent", "non-negative", raw(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, "1")},
	{"fractional extent", "non-negative", raw(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, "1")},
	{"extent beyond int64", "non-negative", raw(`{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}}`, "1")},
	{"extent beyond int32", "absurd", raw(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, "")},
	{"shape overflow", "2^40", raw(`{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647,8],"data_offsets":[0,8]}}`, "12345678")},
	{"too many dims", "more than 32", raw(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 40)+`1],"data_offsets":[0,1]}}`, "1")},
	{"size mismatch", "takes 12 bytes", raw(`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, "12345678")},
	{"offsets reversed", "do not lie", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, "12345678")},
	{"offset beyond file", "do not lie", raw(one, "1234567")},
	{"three offsets", "more than 2", raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}}`, "12345678")},
	{"overlap", "inside tensor", raw(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`, "123456")},
	{"gap", "belong to no tensor", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "123")},
	{"gap at the start", "belong to no tensor", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12")},
	{"bytes at the end", "belong to no tensor", raw(one, "123456789")},
	{"bytes without tensors", "belong to no tensor", raw(`{}`, "1")},
	{"tensor is a string", `where '{' belongs`, raw(`{"a":"b"}`, "")},
}

func TestCorrupt(t *testing.T) {
	if _, err := Parse(raw(one, "12345678")); err != nil {
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
	whole := raw(one, "12345678")
	for n := range whole {
		if _, err := Parse(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(whole))
		}
	}
}

func TestUnsupportedElementIsNamed(t *testing.T) {
	f, err := Parse(raw(`{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}`, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Tensor("a"); err == nil || !strings.Contains(err.Error(), "F8_E4M3") {
		t.Errorf("got %v", err)
	}
}

func TestHugeHeaderLengthAllocatesNothing(t *testing.T) {
	file := withLength(MaxHeader, "{")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(file)
	runtime.ReadMemStats(&after)
	if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("error %v after allocating %d bytes", err, after.TotalAlloc-before.TotalAlloc)
	}
}

func TestWriteRejects(t *testing.T) {
	x := graph.FromF32([]float32{1}, 1)
	boom := errors.New("boom")
	for name, entries := range map[string][]Entry{
		"twice":     {EntryOf("a", x), EntryOf("a", graph.FromI8([]int8{1}, 1))},
		"metadata":  {EntryOf("__metadata__", x)},
		"not UTF-8": {EntryOf("\xff", x)},
		"no type":   {{Name: "a"}},
		"short":     {{"a", graph.F32, []int{2}, func() (graph.Tensor, error) { return x, nil }}},
		"load":      {{"a", graph.F32, []int{1}, func() (graph.Tensor, error) { return x, boom }}},
	} {
		dir := t.TempDir()
		if err := WriteFile(filepath.Join(dir, "f"), entries, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(raw(one, "12345678"))
	for _, c := range corrupt {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		var total int64
		for _, info := range file.Tensors {
			b, err := file.Bytes(info.Name)
			if err != nil || int64(len(b)) != info.Size {
				t.Fatalf("%q: %d bytes, %v", info.Name, len(b), err)
			}
			total += info.Size
			if tensor, err := file.Tensor(info.Name); err == nil && !bytes.Equal(tensor.Data, b) {
				t.Fatalf("%q: content differs", info.Name)
			}
		}
		if total > int64(len(data)) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
	})
}
