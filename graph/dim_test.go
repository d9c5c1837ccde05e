package graph

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDimText(t *testing.T) {
	tests := []struct {
		text string
		dim  Dim
		back string
	}{
		{"0", C(0), "0"},
		{"2560", C(2560), "2560"},
		{"-3", C(-3), "-3"},
		{"S", Dim{Sym: "S", Mul: 1}, "S"},
		{"1*S", Dim{Sym: "S", Mul: 1}, "S"},
		{"4*S", Dim{Sym: "S", Mul: 4}, "4*S"},
		{"S+1", Dim{Sym: "S", Mul: 1, Add: 1}, "S+1"},
		{"S+0", Dim{Sym: "S", Mul: 1}, "S"},
		{"2*S-1", Dim{Sym: "S", Mul: 2, Add: -1}, "2*S-1"},
		{"-2*batch_2+7", Dim{Sym: "batch_2", Mul: -2, Add: 7}, "-2*batch_2+7"},
	}
	for _, tt := range tests {
		got, err := parseDim(tt.text)
		if err != nil || got != tt.dim || got.String() != tt.back {
			t.Errorf("parseDim(%q) = %#v (%s), %v; want %#v (%s)", tt.text, got, got, err, tt.dim, tt.back)
		}
	}
	for _, bad := range []string{"", "*", "S*2", "0*S", "2*", "2*3", "S+", "S++1", "S+x", "+S", "1S", "S T", "2*S+1+1", "9999999999999999999", "9999999999999999999*S", "é"} {
		if d, err := parseDim(bad); err == nil {
			t.Errorf("parseDim(%q) = %s, want an error", bad, d)
		}
	}
}

func TestTypeText(t *testing.T) {
	for _, s := range []string{"f32[]", "f32[S,2560]", "tern[64,32]@i2x4x32", "bf16[2*S+1,0]", "i64[1,2,3,4,5]", "u8[S]@a.b_c"} {
		got, err := ParseType(s)
		if err != nil || got.String() != s {
			t.Errorf("ParseType(%q) = %s, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "f32", "f32[", "f32]", "f32][", "[]", "f31[2]", "invalid[2]", "F32[2]", "f32[2]x", "f32[2]@", "f32[2]@a b", "f32[2]@a,b", "f32[,]", "f32[2,]", "f32[2][3]"} {
		if got, err := ParseType(bad); err == nil {
			t.Errorf("ParseType(%q) = %s, want an error", bad, got)
		}
	}
}

func drawDim(t *rapid.T, syms ...string) Dim {
	if len(syms) == 0 || rapid.Bool().Draw(t, "const") {
		return C(rapid.IntRange(0, 1<<20).Draw(t, "n"))
	}
	return Dim{
		Sym: rapid.SampledFrom(syms).Draw(t, "sym"),
		Mul: rapid.OneOf(rapid.IntRange(-8, -1), rapid.IntRange(1, 8)).Draw(t, "mul"),
		Add: rapid.IntRange(-9, 9).Draw(t, "add"),
	}
}

func TestTypeTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Type{Elem: DType(rapid.IntRange(int(F32), int(Tern)).Draw(t, "elem"))}
		for range rapid.IntRange(0, 5).Draw(t, "rank") {
			want.Shape = append(want.Shape, drawDim(t, "S", "T_1"))
		}
		want.Layout = Layout(rapid.StringMatching(`|[a-zA-Z0-9._]+`).Draw(t, "layout"))
		got, err := ParseType(want.String())
		if err != nil || !got.Equal(want) {
			t.Fatalf("%s reads back as %s, %v", want, got, err)
		}
	})
}

func TestDimArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDim(t, "S")
		k := rapid.IntRange(-6, 6).Draw(t, "k")
		env := map[string]int{"S": rapid.IntRange(0, 1000).Draw(t, "S")}
		eval := func(d Dim) int {
			n, err := d.Eval(env)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		v := eval(d)
		if got := eval(d.Times(k)); got != k*v {
			t.Fatalf("(%s)*%d is %d, want %d", d, k, got, k*v)
		}
		if k == 0 && d.Times(k) != C(0) {
			t.Fatalf("0*(%s) is %#v, not the constant 0", d, d.Times(0))
		}
		if got := eval(d.Plus(k)); got != v+k {
			t.Fatalf("(%s)+%d is %d, want %d", d, k, got, v+k)
		}
		if q, ok := d.Div(k); ok && eval(q)*k != v {
			t.Fatalf("(%s)/%d = %s is wrong at %v", d, k, q, env)
		}
		if q, ok := d.Times(k).Div(k); k != 0 && (!ok || q != d) {
			t.Fatalf("(%s)*%d/%d = %s", d, k, k, q)
		}
	})
	if _, err := (Dim{Sym: "S", Mul: 1}).Eval(nil); err == nil {
		t.Error("a symbol without a value has an extent")
	}
}

func TestCheckType(t *testing.T) {
	syms := []Sym{{"S", 1, 8}}
	tests := []struct {
		typ  Type
		want string // part of the error; "" for none
	}{
		{T(F32), ""},
		{T(F32, C(0), Dim{Sym: "S", Mul: 1}), ""},
		{T(F32, Dim{Sym: "S", Mul: -1, Add: 8}), ""},
		{T(F32, Dim{Sym: "S", Mul: -1, Add: 7}), "negative for some S in 1..8"},
		{T(F32, Dim{Sym: "S", Mul: 1, Add: -2}), "negative for some S"},
		{T(F32, Dim{Sym: "T", Mul: 1}), "symbol T"},
		{T(F32, Dim{Sym: "S"}), "zero times"},
		{T(F32, C(-1)), "negative extent"},
		{T(InvalidDType), "element type"},
		{T(DType(200), C(1)), "element type dtype(200)"},
		{T(I8, C(1<<20), C(1<<21)), "2^40"},
	}
	for _, tt := range tests {
		err := checkType(tt.typ, syms)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("checkType(%s) = %v, want %q", tt.typ, err, tt.want)
		}
	}
}

func TestDTypeText(t *testing.T) {
	for d := F32; d <= Tern; d++ {
		got, err := ParseDType(d.String())
		if got != d || err != nil {
			t.Errorf("%s reads back as %s, %v", d, got, err)
		}
		if d.Size() == 0 {
			t.Errorf("%s has no size", d)
		}
	}
	if _, err := ParseDType("invalid"); err == nil {
		t.Error("the invalid element type parses")
	}
	if DType(99).Size() != 0 || DType(99).String() != "dtype(99)" {
		t.Error("an unknown element type has a size or a name")
	}
}
