package runfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// column is where the comment beside a value begins.
const column = 32

// Write returns the configuration as YAML: every key with its value, and beside
// it what it means, its flag where that has a name of its own, and its source.
// Each value is one line.
func Write(cfg any) ([]byte, error) {
	var b bytes.Buffer
	for _, s := range Settings(cfg) {
		line := strings.Repeat("  ", s.Depth()) + s.Name() + ":"
		if !s.Section {
			text, err := scalar(s.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Key, err)
			}
			line += " " + text
		}
		fmt.Fprintf(&b, "%-*s # %s\n", column, line, s.Comment())
	}
	return b.Bytes(), nil
}

// scalar is a value in YAML's flow style. Texts that could be read as something
// else are quoted as in JSON, of which YAML is a superset.
func scalar(v reflect.Value) (string, error) {
	switch v.Kind() {
	case reflect.String:
		if text := v.String(); plain.MatchString(text) && !slices.Contains(reserved, text) {
			return text, nil
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v.String())
		return strings.TrimSpace(b.String()), err
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			text, err := scalar(v.Index(i))
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	}
	return fmt.Sprint(v.Interface()), nil
}

var (
	plain    = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	reserved = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
)

// Comment is the help, with the flag and the source in parentheses.
func (s Setting) Comment() string {
	var notes []string
	if s.Section {
		return s.Help
	}
	if s.Flag != strings.NewReplacer(".", "-", "_", "-").Replace(s.Key) {
		notes = append(notes, "--"+s.Flag)
	}
	if s.Source != "" {
		notes = append(notes, s.Source)
	}
	if len(notes) == 0 {
		return s.Help
	}
	return s.Help + " (" + strings.Join(notes, "; ") + ")"
}
