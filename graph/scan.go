package graph

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Stmt is one statement of the textual form, not yet bound to values.
type Stmt struct {
	Out   []string // result names, without the %
	Op    *OpDef
	In    []string
	Attrs []Attr // in bodies a value may be "$name"
	Types []Type // as written; nil in bodies
	Name  string // of a param or state
	Const Tensor // of a constant
	Pos   []Pos
}

// scanner reads one line.
type scanner struct {
	s   string
	pos int
}

func (sc *scanner) space() {
	for sc.pos < len(sc.s) && (sc.s[sc.pos] == ' ' || sc.s[sc.pos] == '\t') {
		sc.pos++
	}
}

// eat consumes tok if it comes next.
func (sc *scanner) eat(tok string) bool {
	sc.space()
	if strings.HasPrefix(sc.s[sc.pos:], tok) {
		sc.pos += len(tok)
		return true
	}
	return false
}

func (sc *scanner) rest() string { sc.space(); return sc.s[sc.pos:] }

func (sc *scanner) expect(tok string) error {
	if !sc.eat(tok) {
		return fmt.Errorf("want %q before %q", tok, sc.rest())
	}
	return nil
}

// until returns the text up to one of the stop characters, trimmed.
func (sc *scanner) until(stops string) string {
	sc.space()
	end := strings.IndexAny(sc.s[sc.pos:], stops)
	if end < 0 {
		end = len(sc.s) - sc.pos
	}
	w := sc.s[sc.pos : sc.pos+end]
	sc.pos += end
	return strings.TrimSpace(w)
}

// quoted reads a Go string literal and returns it with its quotes.
func (sc *scanner) quoted() (string, error) {
	sc.space()
	q, err := strconv.QuotedPrefix(sc.s[sc.pos:])
	if err != nil || q[0] != '"' { // Go's other literals are not part of the form
		return "", fmt.Errorf("want a quoted string before %q", sc.rest())
	}
	sc.pos += len(q)
	return q, nil
}

func (sc *scanner) unquoted() (string, error) {
	q, err := sc.quoted()
	if err != nil {
		return "", err
	}
	return strconv.Unquote(q)
}

// valueName reads "%name".
func (sc *scanner) valueName() (string, error) {
	if !sc.eat("%") {
		return "", fmt.Errorf("want a %%name before %q", sc.rest())
	}
	end := sc.pos
	for end < len(sc.s) && isNameByte(sc.s[end]) {
		end++
	}
	name := sc.s[sc.pos:end]
	if name == "" {
		return "", fmt.Errorf("empty name before %q", sc.rest())
	}
	sc.pos = end
	return name, nil
}

// valueNames reads "%a, %b" up to, not including, the end token.
func (sc *scanner) valueNames() ([]string, error) {
	var out []string
	for {
		n, err := sc.valueName()
		if err != nil {
			return nil, err
		}
		out = append(out, n)
		if !sc.eat(",") {
			return out, nil
		}
	}
}

// types reads "f32[S,4], i8[S]@layout".
func (sc *scanner) types() ([]Type, error) {
	var out []Type
	for {
		t, err := sc.typ()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		if !sc.eat(",") {
			return out, nil
		}
	}
}

// typ reads one type.
func (sc *scanner) typ() (Type, error) {
	elem := sc.until("[")
	dims := sc.until("]")
	if !sc.eat("]") {
		return Type{}, fmt.Errorf("unfinished type %q", elem+dims)
	}
	text := elem + strings.ReplaceAll(dims, " ", "") + "]"
	if sc.pos < len(sc.s) && sc.s[sc.pos] == '@' {
		text += sc.until(" ,\t)")
	}
	return ParseType(text)
}

func (sc *scanner) attrs() ([]Attr, error) {
	var out []Attr
	if sc.eat("}") {
		return nil, nil
	}
	for {
		name := sc.until("=,}")
		a := Attr{Name: name, Value: "true"}
		if sc.eat("=") {
			sc.space()
			if strings.HasPrefix(sc.rest(), `"`) {
				q, err := sc.quoted()
				if err != nil {
					return nil, err
				}
				a.Value = q
			} else {
				a.Value = sc.until(",}")
			}
		}
		if !isWord(a.Name) || a.Value == "" {
			return nil, fmt.Errorf("bad attribute %q", name)
		}
		out = append(out, a)
		if sc.eat("}") {
			return out, nil
		}
		if err := sc.expect(","); err != nil {
			return nil, err
		}
	}
}

// cutComment splits a line at its // comment, which cannot be inside a string.
func cutComment(s string) (code, comment string) {
	inString := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && inString:
			i++
		case s[i] == '"':
			inString = !inString
		case !inString && strings.HasPrefix(s[i:], "//"):
			return s[:i], strings.TrimSpace(s[i+2:])
		}
	}
	return s, ""
}

// parsePos reads what formatPos prints; anything else is an ordinary comment.
func parsePos(s string) []Pos {
	var out []Pos
	for _, f := range strings.Fields(s) {
		file, lines, ok := strings.Cut(f, ":")
		if !ok || file == "" {
			return nil
		}
		for _, l := range strings.Split(lines, ",") {
			n, err := strconv.Atoi(l)
			if err != nil {
				return nil
			}
			out = append(out, Pos{file, n})
		}
	}
	return out
}

// parseStmt reads "%q, %s = quant.act(%n) {bits=8} : i8[S,4], f32[S,1]".
func parseStmt(text string, ops OpSet) (*Stmt, error) {
	code, comment := cutComment(text)
	sc := &scanner{s: code}
	st := &Stmt{Pos: parsePos(comment)}
	var err error
	if st.Out, err = sc.valueNames(); err != nil {
		return nil, err
	}
	if err := sc.expect("="); err != nil {
		return nil, err
	}
	name := sc.until(" (\t")
	switch name {
	case "const":
		st.Op = ConstOp.OpDef
		err = sc.constant(st)
	case "param", "state":
		st.Op = ParamOp.OpDef
		if name == "state" {
			st.Op = StateOp.OpDef
		}
		st.Name, err = sc.unquoted()
	default:
		st.Op = ops[name]
		if st.Op == nil {
			return nil, fmt.Errorf("unknown op %q", name)
		}
		if err = sc.expect("("); err != nil {
			return nil, err
		}
		if !sc.eat(")") {
			if st.In, err = sc.valueNames(); err != nil {
				return nil, err
			}
			if err = sc.expect(")"); err != nil {
				return nil, err
			}
		}
		if sc.eat("{") {
			st.Attrs, err = sc.attrs()
		}
	}
	if err != nil {
		return nil, err
	}
	if sc.eat(":") {
		if st.Types, err = sc.types(); err != nil {
			return nil, err
		}
	}
	sc.eat("@prep") // derived, so not kept
	sc.eat("exact")
	if r := sc.rest(); r != "" {
		return nil, fmt.Errorf("unexpected %q", r)
	}
	if st.Op == ConstOp.OpDef {
		return st, st.bindConst()
	}
	return st, nil
}

// constant reads the printed elements; bindConst gives them their type.
func (sc *scanner) constant(st *Stmt) error {
	if sc.eat("x") {
		h, err := sc.unquoted()
		if err != nil {
			return err
		}
		st.Const.Data, err = hex.DecodeString(h)
		return err
	}
	if err := sc.expect("["); err != nil {
		return err
	}
	text := sc.until("]")
	st.Attrs = []Attr{{"values", text}}
	return sc.expect("]")
}

func (st *Stmt) bindConst() error {
	if len(st.Types) != 1 {
		return fmt.Errorf("a constant needs one type")
	}
	dims, err := st.Types[0].Shape.Eval(nil)
	if err != nil {
		return err
	}
	data := st.Const.Data
	if len(st.Attrs) > 0 {
		n, err := Count(dims)
		if err != nil {
			return err
		}
		vals := strings.FieldsFunc(st.Attrs[0].Value, func(r rune) bool { return r == ',' || r == ' ' })
		if n != len(vals) {
			return fmt.Errorf("%d values for %s", len(vals), st.Types[0])
		}
		if data, err = constBytes(st.Types[0].Elem, vals); err != nil {
			return err
		}
		st.Attrs = nil
	}
	st.Const, err = NewTensorFrom(st.Types[0].Elem, data, dims...)
	return err
}

func constBytes(elem DType, vals []string) ([]byte, error) {
	t := NewTensor(elem, len(vals))
	for i, s := range vals {
		switch elem {
		case F32:
			f, err := strconv.ParseFloat(s, 32)
			if err != nil {
				return nil, fmt.Errorf("bad number %q", s)
			}
			t.F32()[i] = float32(f)
		case I32:
			n, err := strconv.ParseInt(s, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("bad integer %q", s)
			}
			t.I32()[i] = int32(n)
		default:
			return nil, fmt.Errorf("%s constants are written as x\"…\"", elem)
		}
	}
	return t.Data, nil
}
