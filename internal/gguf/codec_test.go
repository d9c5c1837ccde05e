package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/golden"
	"github.com/trit-ml/trit/internal/safetensors"
)

// The reference vectors equal the bytes of the reference quantisers.
func TestTernaryAgainstReference(t *testing.T) {
	f, err := safetensors.Open(golden.Path(t, "formats.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	get := func(name string) graph.Tensor {
		t.Helper()
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []string{"a", "b"} {
		codes, gamma := get(c+".codes"), get(c + ".scale").F32()[0]
		in := codes.Dims[1]
		x86 := get(c + ".i2_s_x86").Data
		for name, order := range map[string]Order{"i2_s_x86": OrderX86, "i2_s_arm": OrderARM, "i2_s_x86_rows4": OrderRows} {
			got := make([]int8, codes.Len())
			g, err := UnpackI2S(got, get(c+"."+name).Data, order, in)
			if err != nil || g != gamma || !slices.Equal(got, codes.I8()) {
				t.Errorf("%s %s: scale %v, want %v; codes equal: %v; %v", c, name, g, gamma, slices.Equal(got, codes.I8()), err)
			}
		}
		buf := make([]byte, len(x86))
		if err := PackI2S(buf, codes.I8(), gamma); err != nil {
			t.Fatal(err)
		}
		// The filler behind the scale is undefined.
		if n := len(x86) - i2sTail + 4; !bytes.Equal(buf[:n], x86[:n]) {
			t.Errorf("%s: I2_S bytes differ", c)
		}
		for name, typ := range map[string]Type{"tq1_0": TQ1_0, "tq2_0": TQ2_0} {
			want := get(c + "." + name).Data
			buf := make([]byte, len(want))
			if err := PackTQ(typ, buf, codes.I8(), gamma); err != nil || !bytes.Equal(buf, want) {
				t.Errorf("%s %s: bytes differ, %v", c, name, err)
			}
			got := make([]int8, codes.Len())
			d, err := UnpackTQ(typ, got, want)
			if err != nil || d != graph.F16ToF32(graph.F32ToF16(gamma)) || !slices.Equal(got, codes.I8()) {
				t.Errorf("%s %s: codes differ, scale %v, %v", c, name, d, err)
			}
			vals := make([]float32, codes.Len())
			if err := Decode(typ, vals, want); err != nil || !slices.Equal(vals, get(c+"."+name+".dequant").F32()) {
				t.Errorf("%s %s: values differ, %v", c, name, err)
			}
		}
	}
	x := get("float.x").F32()
	for name, typ := range map[string]Type{"tq1_0": TQ1_0, "tq2_0": TQ2_0} {
		want := get("float." + name).Data
		buf := make([]byte, len(want))
		if err := Encode(typ, buf, x); err != nil || !bytes.Equal(buf, want) {
			t.Errorf("%s from floats: bytes differ, %v", name, err)
		}
		if _, err := UnpackTQ(typ, make([]int8, len(x)), want); err == nil {
			t.Errorf("%s: blocks of different scale passed for one ternary weight", name)
		}
	}
}

func TestTQ1EveryByteDecodesToItsDigits(t *testing.T) {
	for u := range 243 {
		b := (u*256 + 242) / 243
		for i, n := 4, u; i >= 0; i, n = i-1, n/3 {
			if got := int(tq1Digits[b][i]) + 1; got != n%3 {
				t.Fatalf("byte %d: digit %d is %d, want %d", b, i, got, n%3)
			}
		}
	}
}

func TestTernaryRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		rows, in := 4*(1+rng.IntN(4)), 256*(1+rng.IntN(4))
		codes := make([]int8, rows*in)
		zeros := rng.IntN(3) == 0
		for i := range codes {
			if !zeros || i >= 256 {
				codes[i] = int8(rng.IntN(3) - 1)
			}
		}
		scale := graph.F16ToF32(graph.F32ToF16(rng.Float32() + 0.001))
		got := make([]int8, len(codes))
		buf := make([]byte, len(codes)/4+i2sTail)
		if err := PackI2S(buf, codes, scale); err != nil {
			t.Fatal(err)
		}
		if s, err := UnpackI2S(got, buf, OrderX86, in); err != nil || s != scale || !slices.Equal(got, codes) {
			t.Errorf("I2_S: scale %v want %v, %v", s, scale, err)
		}
		for _, typ := range []Type{TQ1_0, TQ2_0} {
			n, err := Size(typ, []int{rows, in})
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, n)
			if err := PackTQ(typ, buf, codes, scale); err != nil {
				t.Fatal(err)
			}
			if s, err := UnpackTQ(typ, got, buf); err != nil || s != scale || !slices.Equal(got, codes) {
				t.Errorf("%s: scale %v want %v, %v", typ, s, scale, err)
			}
		}
	}
}

func TestBadTernaryDataIsRefused(t *testing.T) {
	codes := make([]int8, 256)
	i2s := make([]byte, 64+i2sTail)
	tq2 := make([]byte, tq2Bytes)
	tq1 := make([]byte, tq1Bytes)
	if err := PackI2S(i2s, codes, 1); err != nil {
		t.Fatal(err)
	}
	if err := PackTQ(TQ2_0, tq2, codes, 1); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), -1} {
		binary.LittleEndian.PutUint32(i2s[64:], math.Float32bits(bad))
		if _, err := UnpackI2S(codes, i2s, OrderX86, 256); err == nil {
			t.Errorf("I2_S scale %v accepted", bad)
		}
		binary.LittleEndian.PutUint16(tq2[64:], graph.F32ToF16(bad))
		binary.LittleEndian.PutUint16(tq1[52:], graph.F32ToF16(bad))
		if _, err := UnpackTQ(TQ2_0, codes, tq2); err == nil {
			t.Errorf("TQ2_0 scale %v accepted", bad)
		}
		if _, err := UnpackTQ(TQ1_0, codes, tq1); err == nil {
			t.Errorf("TQ1_0 scale %v accepted", bad)
		}
		x := make([]float32, 256)
		x[100] = bad
		for _, typ := range []Type{TQ1_0, TQ2_0, Q8_0} {
			n, _ := Size(typ, []int{256})
			if err := Encode(typ, make([]byte, n), x); (err == nil) != (bad == -1) {
				t.Errorf("%s of %v: %v", typ, bad, err)
			}
		}
	}
	if err := PackI2S(i2s, codes, 1); err != nil {
		t.Fatal(err)
	}
	for _, order := range []Order{OrderX86, OrderARM, OrderRows} {
		i2s[17] |= 0x30
		if _, err := UnpackI2S(codes, i2s, order, 64); err == nil {
			t.Errorf("a code of 3 accepted in order %v", order)
		}
		if _, err := UnpackI2S(codes[:252], i2s, order, 64); err == nil {
			t.Errorf("a short tensor accepted in order %v", order)
		}
	}
	codes[3] = 2
	if PackI2S(i2s, codes, 1) == nil || PackTQ(TQ1_0, tq1, codes, 1) == nil || PackTQ(TQ2_0, tq2, codes, 1) == nil {
		t.Error("a code of 2 was packed")
	}
}

// The float block formats against plain restatements of their definitions.
func TestFloatBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	put := func(b []byte, f float32) float32 {
		h := graph.F32ToF16(f)
		binary.LittleEndian.PutUint16(b, h)
		return graph.F16ToF32(h)
	}
	q4, want := make([]byte, 18), make([]float32, 32)
	d := put(q4, 0.37)
	for i := range want {
		n := rng.IntN(16)
		q4[2+i%16] |= byte(n << (4 * (i / 16)))
		want[i] = d * float32(n-8)
	}
	got := make([]float32, 32)
	if err := Decode(Q4_0, got, q4); err != nil || !slices.Equal(got, want) {
		t.Errorf("Q4_0: %v, want %v; %v", got, want, err)
	}

	// Q6_K laid out value by value with the index arithmetic of ggml's loop.
	q6, want := make([]byte, 210), make([]float32, 256)
	d = put(q6[208:], 0.011)
	for i := range 16 {
		q6[192+i] = byte(rng.IntN(256))
	}
	for half := range 2 {
		ql, qh, sc := q6[64*half:], q6[128+32*half:], q6[192+8*half:]
		for l := range 32 {
			for k := range 4 {
				n := rng.IntN(64)
				switch k {
				case 0:
					ql[l] |= byte(n & 15)
				case 1:
					ql[l+32] |= byte(n & 15)
				case 2:
					ql[l] |= byte(n & 15 << 4)
				case 3:
					ql[l+32] |= byte(n & 15 << 4)
				}
				qh[l] |= byte(n >> 4 << (2 * k))
				want[128*half+32*k+l] = d * float32(int8(sc[l/16+2*k])) * float32(n-32)
			}
		}
	}
	got = make([]float32, 256)
	if err := Decode(Q6_K, got, q6); err != nil || !slices.Equal(got, want) {
		t.Errorf("Q6_K: %v", err)
	}

	x := make([]float32, 256)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for typ, bound := range map[Type]float64{F32: 0, F16: 2e-3, BF16: 2e-2, Q8_0: 0.02} {
		n, err := Size(typ, []int{256})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, n)
		if err := Encode(typ, b, x); err != nil {
			t.Fatal(err)
		}
		if err := Decode(typ, got, b); err != nil {
			t.Fatal(err)
		}
		for i := range x {
			if math.Abs(float64(got[i]-x[i])) > bound {
				t.Errorf("%s: %v came back as %v", typ, x[i], got[i])
			}
		}
		// What was decoded is exact from then on.
		again := make([]byte, n)
		if err := Encode(typ, again, got); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: second pass differs, %v", typ, err)
		}
	}
	if err := Encode(Q6_K, make([]byte, 210), x); err == nil {
		t.Error("Q6_K was encoded")
	}
	if err := Decode(12, x, make([]byte, 144)); err == nil {
		t.Error("Q4_K was decoded")
	}
}
