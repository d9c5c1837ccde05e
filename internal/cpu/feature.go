// Package cpu tells which instruction sets a process may use and what the
// host looks like. Features are plain values: what the hardware has, minus
// what the TRIT_CPU environment variable or a test switches off.
package cpu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// EnvVar names the environment variable that switches features off, for
// example TRIT_CPU="-avx512,-fma".
const EnvVar = "TRIT_CPU"

// Feature is one bit of a Set. A feature stands for what a kernel needs as a
// whole, so AVX512 means F, BW, DQ and VL together.
type Feature uint32

// The features that kernels of this module ask for. A feature counts as
// present only if the operating system saves its registers.
const (
	AVX2       Feature = 1 << iota // amd64: AVX and AVX2
	FMA                            // amd64: FMA3
	F16C                           // amd64: half precision conversion
	AVXVNNI                        // amd64: VPDPBUSD in VEX encoding
	AVX512                         // amd64: AVX-512 F, BW, DQ and VL, and BMI2
	AVX512VNNI                     // amd64: VPDPBUSD on 512-bit registers
	AVX512VBMI                     // amd64: byte permutes across a register
	AVX512BF16                     // amd64: VDPBF16PS
	NEON                           // arm64: Advanced SIMD
	DotProd                        // arm64: SDOT and UDOT
	I8MM                           // arm64: SMMLA and USMMLA
)

// table has a row for each feature: what CPUID must report, and what the feature
// is useless without, so that switching AVX2 off switches every 256- and 512-bit
// feature off. A row comes after those it needs.
var table = []struct {
	bit   Feature
	name  string
	ids   []cpuid.FeatureID
	needs Feature
}{
	{AVX2, "avx2", []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2}, 0},
	{FMA, "fma", []cpuid.FeatureID{cpuid.AVX, cpuid.FMA3}, AVX2},
	{F16C, "f16c", []cpuid.FeatureID{cpuid.AVX, cpuid.F16C}, AVX2},
	{AVXVNNI, "avxvnni", []cpuid.FeatureID{cpuid.AVX2, cpuid.AVXVNNI}, AVX2},
	{AVX512, "avx512", []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.BMI2}, AVX2 | FMA},
	{AVX512VNNI, "avx512vnni", []cpuid.FeatureID{cpuid.AVX512VNNI}, AVX512},
	{AVX512VBMI, "avx512vbmi", []cpuid.FeatureID{cpuid.AVX512VBMI}, AVX512},
	{AVX512BF16, "avx512bf16", []cpuid.FeatureID{cpuid.AVX512BF16}, AVX512},
	{NEON, "neon", []cpuid.FeatureID{cpuid.ASIMD}, 0},
	{DotProd, "dotprod", []cpuid.FeatureID{cpuid.ASIMDDP}, NEON},
	{I8MM, "i8mm", []cpuid.FeatureID{cpuid.I8MM}, NEON},
}

// Set is a set of features.
type Set uint32

// Has reports whether every feature in f, several or-ed together, is present.
func (s Set) Has(f Feature) bool { return Feature(s)&f == f }

// With returns the set with the features in f, whether or not the hardware
// has them; a test that uses it must not execute them.
func (s Set) With(f Feature) Set { return s | Set(f) }

// Without returns the set without the features in f and without everything
// that needs them.
func (s Set) Without(f Feature) Set {
	s &^= Set(f)
	for _, row := range table { // rows come after what they need
		if !s.Has(row.needs) {
			s &^= Set(row.bit)
		}
	}
	return s
}

// Names lists the features in the set in a fixed order.
func (s Set) Names() []string {
	var names []string
	for _, row := range table {
		if s.Has(row.bit) {
			names = append(names, row.name)
		}
	}
	return names
}

// String joins the names with spaces; the empty set is "none".
func (s Set) String() string {
	if names := s.Names(); len(names) > 0 {
		return strings.Join(names, " ")
	}
	return "none"
}

// Apply returns the set changed by a comma-separated list of toggles: "-name"
// removes a feature and what needs it, "-all" removes every feature. Features
// cannot be added, because running what the hardware lacks ends the process.
// Spaces and empty items are ignored.
func (s Set) Apply(toggles string) (Set, error) {
	for item := range strings.SplitSeq(toggles, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, minus := strings.CutPrefix(item, "-")
		if !minus {
			return s, fmt.Errorf("cpu: toggle %q: features can only be switched off, write %q", item, "-"+item)
		}
		if name == "all" {
			s = 0
			continue
		}
		f, err := Parse(name)
		if err != nil {
			return s, err
		}
		s = s.Without(f)
	}
	return s, nil
}

// Parse returns the feature with the given name.
func Parse(name string) (Feature, error) {
	all := make([]string, 0, len(table))
	for _, row := range table {
		if row.name == name {
			return row.bit, nil
		}
		all = append(all, row.name)
	}
	slices.Sort(all)
	return 0, fmt.Errorf("cpu: unknown feature %q; known: %s", name, strings.Join(all, ", "))
}

// Hardware returns what this processor and its operating system offer,
// regardless of the environment.
var Hardware = sync.OnceValue(func() Set {
	var s Set
	for _, row := range table {
		if cpuid.CPU.Supports(row.ids...) && s.Has(row.needs) {
			s |= Set(row.bit)
		}
	}
	return s
})

// Detect returns the hardware's features with the toggles of TRIT_CPU
// applied. The error names a toggle that is not understood; the set is then
// what the toggles before it left.
func Detect() (Set, error) {
	s, err := Hardware().Apply(os.Getenv(EnvVar))
	if err != nil {
		return s, fmt.Errorf("environment variable %s: %w", EnvVar, err)
	}
	return s, nil
}
