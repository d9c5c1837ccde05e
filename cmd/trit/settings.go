package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/trit-ml/trit/train/runfile"
)

// settings are the flags of a verb for every setting of a training
// configuration. A flag that is not given is nil, so that defaults stay in one
// place and a file can set what flags do not.
type settings struct {
	Flags kong.Plugins `embed:""`
}

// newSettings builds the flags from the settings' descriptions.
func newSettings() settings {
	cfg := runfile.Default()
	var fields []reflect.StructField
	for _, s := range runfile.Settings(&cfg) {
		if s.Section {
			continue
		}
		typ, help := s.Value.Type(), s.Help
		if typ.Kind() != reflect.Slice {
			if !s.Value.IsZero() {
				help = fmt.Sprintf("%s (%v)", strings.TrimSuffix(help, "."), s.Value)
			}
			typ = reflect.PointerTo(typ)
		}
		tag := fmt.Sprintf("name:%q help:%s", s.Flag, strconv.Quote(help))
		holder := s.Placeholder
		if holder == "" {
			holder = map[reflect.Kind]string{reflect.Int: "N", reflect.Int64: "N", reflect.Uint64: "N", reflect.Float64: "X"}[s.Value.Kind()]
		}
		if holder == "" {
			holder = strings.ToUpper(s.Name())
		}
		tag += fmt.Sprintf(" placeholder:%q", holder)
		fields = append(fields, reflect.StructField{Name: fieldName(s.Key), Type: typ, Tag: reflect.StructTag(tag)})
	}
	return settings{kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// fieldName makes an exported Go name of a key.
func fieldName(key string) string { return "F_" + strings.ReplaceAll(key, ".", "_") }

// apply sets the settings whose flags were given.
func (f settings) apply(cfg *runfile.Run) {
	flags := reflect.ValueOf(f.Flags[0]).Elem()
	for _, s := range runfile.Settings(cfg) {
		if s.Section {
			continue
		}
		switch v := flags.FieldByName(fieldName(s.Key)); {
		case v.IsNil():
		case v.Kind() == reflect.Pointer:
			s.Value.Set(v.Elem())
		default:
			s.Value.Set(v)
		}
	}
}
