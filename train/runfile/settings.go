// Package runfile reads and writes configurations as commented YAML, such as
// run.yaml of "trit train --config". A configuration is a pointer to a struct;
// its fields with a json tag are settings, described where they are declared:
//
//	Peak float64 `json:"peak" flag:"lr" help:"Peak learning rate." source:"Ma et al. 2024"`
//
// A struct inside is a section of keys, an embedded struct adds its keys to the
// section around it. Adding a setting is adding a field.
package runfile

import (
	"reflect"
	"strings"
)

// Setting is one key of a configuration, or a section of keys.
type Setting struct {
	Key         string // from the top, as in optimizer.schedule.peak
	Flag        string // on the command line: the flag tag, or Key with dashes
	Help        string
	Source      string        // the paper it is from; empty if none
	Placeholder string        // of the flag's value; empty for the type's own
	Value       reflect.Value // settable
	Section     bool          // the settings that follow belong to it
}

// Name is the last part of the key.
func (s Setting) Name() string { return s.Key[strings.LastIndexByte(s.Key, '.')+1:] }

// Depth is how many sections the setting stands in.
func (s Setting) Depth() int { return strings.Count(s.Key, ".") }

// Settings lists the settings of a configuration in the order of its fields.
func Settings(cfg any) []Setting { return collect(nil, reflect.ValueOf(cfg).Elem(), "") }

func collect(list []Setting, v reflect.Value, prefix string) []Setting {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			list = collect(list, v.Field(i), prefix)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		s := Setting{
			Key: prefix + name, Flag: f.Tag.Get("flag"), Help: f.Tag.Get("help"), Source: f.Tag.Get("source"),
			Placeholder: f.Tag.Get("placeholder"), Value: v.Field(i), Section: f.Type.Kind() == reflect.Struct,
		}
		if s.Flag == "" {
			s.Flag = strings.NewReplacer(".", "-", "_", "-").Replace(s.Key)
		}
		list = append(list, s)
		if s.Section {
			list = collect(list, s.Value, s.Key+".")
		}
	}
	return list
}
