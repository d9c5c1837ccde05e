package train

import (
	"reflect"
	"strings"
	"testing"

	"github.com/trit-ml/trit/models/bitnet158"
)

// TestShape checks that a preset can be taken, changed and found in the help.
func TestShape(t *testing.T) {
	field, _ := reflect.TypeFor[Shape]().FieldByName("Preset")
	for _, name := range bitnet158.Presets() {
		s := Shape{Preset: name, Layers: 3}
		m, err := s.model(99)
		if (err == nil) != strings.Contains(field.Tag.Get("help"), name) {
			t.Errorf("preset %s: %v, the help is %q", name, err, field.Tag.Get("help"))
		}
		if err == nil && (m.Layers != 3 || m.Context != 99 || m.Hidden == 0 || m.Validate() != nil) {
			t.Errorf("preset %s: %+v", name, m)
		}
	}
}

// TestShapeMistakes: a shape that cannot be is refused before any text is read,
// in the words of the settings.
func TestShapeMistakes(t *testing.T) {
	for want, s := range map[string]Shape{
		"multiple of 8":   {Preset: "nano", Hidden: 100},
		"set kv_heads":    {Preset: "nano", Hidden: 96, Heads: 3},
		"-3 query":        {Preset: "nano", Heads: -3},
		`no preset "big"`: {Preset: "big"},
	} {
		if _, err := s.model(8); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}
