package cpu

import (
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	full := Set(0).With(AVX2 | FMA | F16C | AVXVNNI | AVX512 | AVX512VNNI | AVX512VBMI | AVX512BF16)
	for _, tc := range []struct{ toggles, want string }{
		{"", "avx2 fma f16c avxvnni avx512 avx512vnni avx512vbmi avx512bf16"},
		{" -avx512 , ", "avx2 fma f16c avxvnni"},
		{"-avx512vnni,-avxvnni", "avx2 fma f16c avx512 avx512vbmi avx512bf16"},
		{"-fma", "avx2 f16c avxvnni"}, // AVX-512 kernels use FMA freely
		{"-avx2", "none"},
		{"-all", "none"},
	} {
		got, err := full.Apply(tc.toggles)
		if err != nil || got.String() != tc.want {
			t.Errorf("Apply(%q) = %s, %v; want %s", tc.toggles, got, err, tc.want)
		}
	}
	for _, bad := range []string{"avx2", "+avx2", "-avx3", "--avx2", "-avx2;-fma"} {
		if _, err := full.Apply(bad); err == nil || !strings.Contains(err.Error(), strings.TrimLeft(bad, "-+")) {
			t.Errorf("Apply(%q): error %v, want one that names the toggle", bad, err)
		}
	}
}

func TestDetectReadsEnvironment(t *testing.T) {
	t.Setenv(EnvVar, "-all")
	if s, err := Detect(); err != nil || s != 0 {
		t.Errorf("Detect with -all = %s, %v; want none", s, err)
	}
	t.Setenv(EnvVar, "")
	if s, err := Detect(); err != nil || s != Hardware() {
		t.Errorf("Detect = %s, %v; want %s", s, err, Hardware())
	}
	t.Setenv(EnvVar, "-nonsense")
	if _, err := Detect(); err == nil || !strings.Contains(err.Error(), EnvVar) {
		t.Errorf("Detect with a bad toggle: error %v, want one that names %s", err, EnvVar)
	}
}

func TestTableOrder(t *testing.T) {
	var before Set
	for _, row := range table {
		if !before.Has(row.needs) {
			t.Errorf("%s stands before a feature it needs; Without relies on the order", row.name)
		}
		before |= Set(row.bit)
		if f, err := Parse(row.name); err != nil || f != row.bit {
			t.Errorf("Parse(%q) = %v, %v", row.name, f, err)
		}
	}
}

func TestHost(t *testing.T) {
	h := Host()
	if h.Cores < 1 || h.Threads < h.Cores {
		t.Errorf("implausible host: %s", h)
	}
	t.Log(h)
}
