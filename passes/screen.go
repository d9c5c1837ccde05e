package passes

import (
	"fmt"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/screen"
)

// Names of the inputs and symbols that the screen-head pass adds.
const (
	FullInput = "full" // i32[F]: which of the wanted rows need all logits
	TopInput  = "top"  // i32[T]: which of the wanted rows need the likeliest only
	KeepInput = "keep" // i32[T]: how many of these
	DrawInput = "draw" // i32[T,8]: how one of these is drawn; see screen.DrawOp
	FullSym   = "F"
	TopSym    = "T"
)

// Screen configures the ScreenHead pass.
type Screen struct {
	Tops  int  // most rows of a step that want the likeliest tokens only; 0 leaves the head as it is
	Least int  // tokens in the smallest vocabulary that is screened; 0 means 8192, where it begins to pay
	List  int  // how many tokens a row's list of the likeliest holds; 0 gives a value for each of the vocabulary instead
	Draw  bool // also draw a token of each list
}

// mostListed is how many tokens a list holds: top-k sampling with more of them
// takes all logits.
const mostListed = 64

// For lets the head give lists and draw from them, as far as claims reports that the
// device does.
func (s Screen) For(claims func(*graph.OpDef) bool) Screen {
	if claims(screen.LikeliestOp.OpDef) {
		s.List = mostListed
		s.Draw = claims(screen.DrawOp.OpDef)
	}
	return s
}

// ScreenHead adds a second output, f32[T,vocabulary]: the logits of the likeliest
// tokens, −Inf elsewhere, for up to s.Tops of the wanted rows. With s.List it adds
// two, i32[T,s.List] and f32[T,s.List]: the ids of the likeliest tokens, in order,
// and their logits; see screen.ListOp. With s.Draw a fourth output i32[T] is the token
// drawn of each list. The first output is left to the rows that need all logits. A graph whose first output is not a
// product with a large head of 16-bit weights stays as it is.
func ScreenHead(s Screen) Pass {
	if s.Least == 0 {
		s.Least = 8192
	}
	return Pass{"screen-head", func(g *graph.Graph) (*graph.Graph, error) {
		if len(g.Outs) == 0 {
			return nil, fmt.Errorf("the graph has no output")
		}
		n := g.Outs[0].Node()
		a, ok := ops.MatMulOp.Of(n)
		if !ok || a.TA || !a.TB || len(g.Outs) != 1 || s.Tops < 1 {
			return g, nil
		}
		w := n.In[1]
		rows, ok := w.Dim(0).Const()
		if e := w.Type().Elem; !ok || rows < s.Least || e != graph.BF16 && e != graph.F16 || !g.Prep()[w.Node()] {
			return g, nil
		}
		most := 0
		for _, sym := range g.Syms {
			if sym.Name == n.In[0].Dim(0).Sym {
				most = sym.Max
			}
		}
		if most == 0 {
			return g, nil // a fixed number of rows
		}
		b, m := graph.Reopen(g)
		full := b.Input(FullInput, graph.I32, b.Sym(FullSym, 0, most))
		tops := b.Sym(TopSym, 0, min(s.Tops, most))
		top, keep := b.Input(TopInput, graph.I32, tops), b.Input(KeepInput, graph.I32, tops)
		x, head := m[n.In[0]], m[w]
		leave := b.Scope(n.Scope)
		defer leave()
		logits := b.Name(ops.Linear(ops.Rows(x, full), head), g.Outs[0].Hint())
		if s.List > 0 {
			ids, likeliest := screen.Likeliest(ops.Rows(x, top), keep, head, s.List)
			outs := []graph.Value{logits, b.Name(ids, "ids"), b.Name(likeliest, "likeliest")}
			if s.Draw {
				how := b.Input(DrawInput, graph.I32, tops, graph.C(screen.DrawWords))
				outs = append(outs, b.Name(screen.DrawOp.One(graph.None{}, ids, likeliest, how), "drawn"))
			}
			return b.Finish(outs...)
		}
		return b.Finish(logits, b.Name(screen.Top(ops.Rows(x, top), keep, head), "likeliest"))
	}}
}
