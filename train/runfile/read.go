package runfile

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxBytes is far above any configuration; the parser's time grows with the
// square of a hostile text.
const maxBytes = 1 << 16

// Read sets the keys that a YAML text gives and leaves the others as they are.
// name is the file's, for errors. An unknown or repeated key and a value of
// another type are errors that give their line; all are reported at once, and
// then cfg may hold some of the values.
func Read(name string, text []byte, cfg any) error {
	if len(text) > maxBytes {
		return fmt.Errorf("%s: %d bytes, a configuration has at most %d; is it another file?", name, len(text), maxBytes)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", name, syntax(err))
	}
	r := reader{name: name, settings: map[string]Setting{}}
	for _, s := range Settings(cfg) {
		r.settings[s.Key] = s
	}
	for i, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode:
		case *ast.NullNode:
		default:
			if i > 0 {
				r.fail(body, "a second document")
				continue
			}
			r.section(body, "")
		}
	}
	return errors.Join(r.errs...)
}

// syntax is a parser's error as "line N: message" without the excerpt.
func syntax(err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		return fmt.Errorf("line %d: %s", e.GetToken().Position.Line, e.GetMessage())
	}
	return err
}

type reader struct {
	name     string
	settings map[string]Setting
	errs     []error
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	at := r.name
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		at = fmt.Sprintf("%s:%d", r.name, tk.Position.Line)
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// section reads the keys of one section; prefix ends in a dot unless empty.
func (r *reader) section(n ast.Node, prefix string) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		if prefix == "" {
			r.fail(n, "want keys and values, such as \"steps: 1000\"")
		} else {
			r.fail(n, "%s is a section: want its keys below it, indented", strings.TrimSuffix(prefix, "."))
		}
		return
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		key, ok := p.Key.(*ast.StringNode)
		if !ok {
			r.fail(p.Key, "want the name of a setting, not %s", p.Key)
			continue
		}
		full := prefix + key.Value
		s, known := r.settings[full]
		switch {
		case !known:
			r.fail(p.Key, "unknown key %s%s", full, r.hint(key.Value, prefix))
		case seen[full]:
			r.fail(p.Key, "%s is given twice", full)
		case s.Section:
			if p.Value.Type() != ast.NullType {
				r.section(p.Value, full+".")
			}
		default:
			r.leaf(p.Value, s)
		}
		seen[full] = true
	}
}

// hint names what may have been meant: the same name in another section, or
// every key of this one.
func (r *reader) hint(name, prefix string) string {
	var elsewhere, here []string
	for key, s := range r.settings {
		if s.Name() == name {
			elsewhere = append(elsewhere, key)
		}
		if rest, ok := strings.CutPrefix(key, prefix); ok && !strings.Contains(rest, ".") {
			here = append(here, rest)
		}
	}
	if len(elsewhere) > 0 {
		slices.Sort(elsewhere)
		return "; there is " + strings.Join(elsewhere, ", ")
	}
	slices.Sort(here)
	return "; the keys here are " + strings.Join(here, ", ")
}

// leaf sets one value. YAML's types must be the setting's: the text "8" is no
// number and 1.5 no integer.
func (r *reader) leaf(n ast.Node, s Setting) {
	want := kindName(s.Value.Type())
	if !fits(n, s.Value.Type()) {
		r.fail(n, "%s is %s, want %s", s.Key, n, want)
		return
	}
	if v, ok := number(n); ok && s.Value.Kind() == reflect.Float64 {
		s.Value.SetFloat(v)
		return
	}
	to := reflect.New(s.Value.Type())
	if err := yaml.NodeToValue(n, to.Interface()); err != nil {
		r.fail(n, "%s is %s, want %s: %s", s.Key, n, want, strings.SplitN(syntax(err).Error(), "\n", 2)[0])
		return
	}
	s.Value.Set(to.Elem())
}

func fits(n ast.Node, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String:
		return n.Type() == ast.StringType || n.Type() == ast.LiteralType
	case reflect.Bool:
		return n.Type() == ast.BoolType
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		return ok && !slices.ContainsFunc(list.Values, func(e ast.Node) bool { return !fits(e, t.Elem()) })
	case reflect.Float64:
		_, ok := number(n)
		return ok
	}
	return n.Type() == ast.IntegerType
}

// number is a finite number, also one such as 4e-3, which the YAML library takes
// for a text.
func number(n ast.Node) (float64, bool) {
	if t := n.GetToken(); t == nil || t.Type == token.DoubleQuoteType || t.Type == token.SingleQuoteType {
		return 0, false
	}
	v, err := strconv.ParseFloat(n.String(), 64)
	return v, err == nil && v-v == 0
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list, such as [a, b]"
	case reflect.Float64:
		return "a number"
	case reflect.Uint64:
		return "a whole number from 0 up"
	}
	return "a whole number"
}
