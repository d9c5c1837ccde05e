package opcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/trit-ml/trit/graph"
)

// Listed fails unless ops lists every op that the package in the working
// directory declares, by the names in its source: those of graph.Def literals,
// and what extra derives from other calls with a literal first argument.
func Listed(t *testing.T, ops []*graph.OpDef, extra map[string]func(name string) []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	literal := func(e ast.Expr) string {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			s, _ := strconv.Unquote(l.Value)
			return s
		}
		return ""
	}
	visit := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			index, ok := n.Type.(*ast.IndexExpr)
			if !ok {
				break
			}
			if sel, ok := index.X.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Def" {
				break
			}
			for _, e := range n.Elts {
				kv := e.(*ast.KeyValueExpr)
				if s := literal(kv.Value); kv.Key.(*ast.Ident).Name == "Name" && s != "" {
					want = append(want, s)
				}
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && extra[id.Name] != nil && len(n.Args) > 0 {
				want = append(want, extra[id.Name](literal(n.Args[0]))...)
			}
		}
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, visit)
	}
	var got []string
	for _, op := range ops {
		got = append(got, op.Name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("All differs from the ops that the package declares (-source +All):\n%s", diff)
	}
	if len(want) == 0 {
		t.Error("no op found in the source")
	}
}
