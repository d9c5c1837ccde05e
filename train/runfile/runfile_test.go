package runfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trit-ml/trit/train"
	"github.com/trit-ml/trit/train/runfile"
)

var onlySettings = cmpopts.IgnoreFields(train.Config{}, "Device", "Declare", "Model", "Dir")

// TestRoundTrip writes a configuration in which no field has its default, and
// reads it back.
func TestRoundTrip(t *testing.T) {
	want := train.Default()
	for i, s := range runfile.Settings(&want) {
		switch v := s.Value; v.Interface().(type) {
		case string:
			v.SetString([]string{"a b", "*.go", "1e3", "yes", "null", "# no comment", "x: y", "it's", `"`, "ü\n"}[i%10])
		case int, int64:
			v.SetInt(-int64(i) - 1)
		case uint64:
			v.SetUint(1<<64 - 1 - uint64(i))
		case float64:
			v.SetFloat([]float64{1e-8, 0.1, 1e300, 3, 1.0 / 3, 4e-3, 0}[i%7] + float64(i)*1e-9)
		case bool:
			v.SetBool(!v.Bool())
		case []string:
			v.Set(v.Slice(0, 0))
			if i%2 == 0 {
				v.Set(v.Slice3(0, 0, 0))
			}
		default:
			if !s.Section {
				t.Fatalf("%s: the test knows no %T", s.Key, v.Interface())
			}
		}
	}
	want.Data.Include = []string{"*.go", "a, b", "[x]", ""}
	text, err := runfile.Write(&want)
	if err != nil {
		t.Fatal(err)
	}
	var got train.Config
	if err := runfile.Read("run.yaml", text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(want, got, onlySettings, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s\n%s", d, text)
	}
}

func TestReadKeepsWhatIsNotGiven(t *testing.T) {
	got, want := train.Default(), train.Default()
	text := "# a small run\ndata: {path: texts, include: ['*.go']}\nmodel:\noptimizer:\n  schedule:\n    peak: 2\n    warmup: 7 # steps\nsteps: 9\n"
	if err := runfile.Read("run.yaml", []byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want.Data.Path, want.Data.Include, want.Optimizer.Schedule.Peak, want.Optimizer.Schedule.Warmup, want.Steps = "texts", []string{"*.go"}, 2, 7, 9
	if d := cmp.Diff(want, got, onlySettings); d != "" {
		t.Error(d)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "null\n"} {
		if err := runfile.Read("run.yaml", []byte(empty), &got); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

// TestMistakes demands the line and the way out.
func TestMistakes(t *testing.T) {
	for text, want := range map[string][]string{
		"steps: 1\nstps: 2\n":                       {"run.yaml:2: unknown key stps", "steps"},
		"steps: 1\npeak: 2\n":                       {"run.yaml:2: unknown key peak", "optimizer.schedule.peak"},
		"optimizer:\n  beta1: 0.9\n  beta3: 1\n":    {"run.yaml:3: unknown key optimizer.beta3", "beta1, beta2"},
		"optimizer:\n  schedule:\n    peak: high\n": {"run.yaml:3: optimizer.schedule.peak is high, want a number"},
		"steps: 1.5\n":                              {"run.yaml:1: steps is 1.5, want a whole number"},
		"steps: \"8\"\n":                            {"run.yaml:1: steps is \"8\", want a whole number"},
		"steps: 99999999999999999999\n":             {"run.yaml:1: steps is 99999999999999999999, want a whole number"},
		"seed: -1\n":                                {"run.yaml:1: seed is -1, want a whole number from 0 up"},
		"plain: 1\n":                                {"run.yaml:1: plain is 1, want true or false"},
		"from: 8\n":                                 {"run.yaml:1: from is 8, want a text"},
		"data:\n  include: a\n":                     {"run.yaml:2: data.include is a, want a list"},
		"data:\n  include: [a, [b]]\n":              {"run.yaml:2: data.include is", "want a list"},
		"optimizer: 3\n":                            {"run.yaml:1: optimizer is a section"},
		"- a\n- b\n":                                {"run.yaml:1: want keys and values"},
		"steps: 1\nrows: 2\nsteps: 3\n":             {"run.yaml: line 3", "steps"},
		"steps: [1\n":                               {"run.yaml: line 1"},
		"steps: &a 1\nrows: *a\n":                   {"run.yaml:1: steps is", "want a whole number"},
		"steps: 1\n---\nrows: 2\n":                  {"run.yaml:", "a second document"},
		"bad: 1\nsteps: x\n":                        {"run.yaml:1: unknown key bad", "run.yaml:2: steps is x"},
		strings.Repeat("#", 1<<17):                  {"131072 bytes"},
		strings.Repeat("[", 2000):                   {"run.yaml"},
		"optimizer:\n  schedule:\n  peak: 1\n":      {"run.yaml:3: unknown key optimizer.peak; there is optimizer.schedule.peak"},
		"1: 2\n":                                    {"run.yaml:1: want the name of a setting, not 1"},
		"validate_every: 1e3\n":                     {"run.yaml:1: validate_every is 1e3, want a whole number"},
		"optimizer:\n  clip: .nan\n":                {"run.yaml:2: optimizer.clip is"},
	} {
		cfg := train.Default()
		err := runfile.Read("run.yaml", []byte(text), &cfg)
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.40q: no %q in %q", text, w, err)
			}
		}
	}
}

// TestEverySettingIsDescribed holds the tags to what the file, the flags and the
// documentation need.
func TestEverySettingIsDescribed(t *testing.T) {
	cfg := train.Default()
	flags := map[string]string{}
	for _, s := range runfile.Settings(&cfg) {
		if !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: help is %q, want a sentence", s.Key, s.Help)
		}
		if s.Section {
			continue
		}
		if old, ok := flags[s.Flag]; ok {
			t.Errorf("%s and %s have one flag --%s", old, s.Key, s.Flag)
		}
		flags[s.Flag] = s.Key
	}
}

func FuzzRead(f *testing.F) {
	cfg := train.Default()
	text, err := runfile.Write(&cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("data: {path: a, include: [b]}\nsteps: 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var cfg train.Config
		if runfile.Read("x", text, &cfg) != nil {
			return
		}
		back, err := runfile.Write(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		var again train.Config
		if err := runfile.Read("x", back, &again); err != nil {
			t.Fatalf("%v\n%s", err, back)
		}
		if d := cmp.Diff(cfg, again, onlySettings, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Error(d)
		}
	})
}
