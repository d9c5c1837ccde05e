package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
)

// Names of the inputs of a screened head; see passes.ScreenHead.
const (
	inputFull = "full"
	inputTop  = "top"
	inputKeep = "keep"
)

// screened is what a session with a screened head has besides.
type screened struct {
	in              struct{ full, top, keep Input }
	symF, symT      int
	full, top, keep []int32
	logits          []float32 // of output 1
	// If outputs 1 and 2 are lists of the likeliest tokens: how many one holds, and
	// those of the last step. Logits are then made when somebody asks for them.
	list     int
	ids      []int32
	likely   []float32
	expanded bool
}

// checkOutputs compares the outputs with the convention, given the shapes of the
// inputs that say which rows are wanted.
func (s *Session) checkOutputs(p *Program, rows, full, top graph.Shape) error {
	want := []graph.Shape{rows}
	if h := s.head; h != nil {
		if h.symF < 0 || h.symT < 0 {
			return errors.New("the numbers of rows with all logits and with the likeliest must be free symbols")
		}
		want = []graph.Shape{full, top}
	}
	outs := p.Outputs()
	if len(outs) < len(want) {
		return fmt.Errorf("the program has %d outputs, want %d", len(outs), len(want))
	}
	if h := s.head; h != nil && outs[1].Elem == graph.I32 {
		if err := h.checkList(outs, top); err != nil {
			return err
		}
		want = want[:1]
	}
	for i, w := range want {
		if t := outs[i]; t.Elem != graph.F32 || t.Rank() != 2 || t.Shape[0] != w[0] || t.Shape[1] != outs[0].Shape[1] {
			return fmt.Errorf("output %d is %s, want f32[%s, vocabulary]", i, t, w[0])
		}
	}
	return nil
}

// checkList compares outputs 1 and 2 with what lists are.
func (h *screened) checkList(outs []graph.Type, top graph.Shape) error {
	ids := outs[1]
	if len(outs) < 3 || ids.Rank() != 2 || ids.Shape[0] != top[0] || !outs[2].Equal(graph.T(graph.F32, ids.Shape...)) {
		return fmt.Errorf("outputs 1 and on are %v, want ids i32[%s, n] and logits f32[%s, n]", outs[1:], top[0], top[0])
	}
	n, ok := ids.Last().Const()
	if !ok || n < 1 {
		return fmt.Errorf("output 1 is %s, want a fixed number of ids", ids)
	}
	h.list = n
	return nil
}

// wantsTop reports whether x's row goes to the screened head.
func (s *Session) wantsTop(x *sequence) bool {
	h := s.head
	return h != nil && x.want > topLogits && (h.list == 0 || int(x.want-topLogits) <= h.list)
}

// Likeliest returns the tokens that q's latest row lists and their logits, the
// likeliest first, if it asked for these alone (Top) and the program gives lists;
// nil otherwise. They are what Logits has besides -Inf, and valid as long.
func (s *Session) Likeliest(q Seq) (ids []int32, logits []float32) {
	x, err := s.at(q)
	if err != nil || x.rows == 0 || !x.top || s.head.list == 0 {
		return nil, nil
	}
	n, row := s.head.list, x.row+x.rows-1
	ids, logits = s.head.ids[row*n:(row+1)*n], s.head.likely[row*n:(row+1)*n]
	for n > 0 && ids[n-1] < 0 {
		n--
	}
	return ids[:n], logits[:n]
}

// expand makes rows of logits of lists.
func (h *screened) expand(vocab int) []float32 {
	if h.list == 0 || h.expanded {
		return h.logits
	}
	rows := len(h.ids) / h.list
	if cap(h.logits) < rows*vocab {
		h.logits = make([]float32, rows*vocab)
	}
	h.logits = h.logits[:rows*vocab]
	none := float32(math.Inf(-1))
	for i := range h.logits {
		h.logits[i] = none
	}
	for i, id := range h.ids {
		if id >= 0 {
			h.logits[i/h.list*vocab+int(id)] = h.likely[i]
		}
	}
	h.expanded = true
	return h.logits
}

// bring says which outputs the next step is read for.
func (s *Session) bring(full, tops int) {
	var outs [3]int
	n := 0
	if full > 0 {
		outs[n] = 0
		n++
	}
	if h := s.head; h != nil && tops > 0 {
		outs[n] = 1
		n++
		if h.list > 0 {
			outs[n] = 2
			n++
		}
	}
	s.run.Bring(outs[:n]...)
}

// take reads the screened head's outputs.
func (h *screened) take(ctx context.Context, r *Run) error {
	t, err := r.Output(ctx, 1)
	if err != nil {
		return err
	}
	if h.list == 0 {
		h.logits = t.F32()
		return nil
	}
	h.ids, h.expanded = t.I32(), false
	if t, err = r.Output(ctx, 2); err == nil {
		h.likely = t.F32()
	}
	return err
}

// split tells the heads apart: which of the scheduled rows need all logits.
func (s *Session) split() (full, tops int) {
	h, row := s.head, int32(0)
	for _, p := range s.batch {
		x := &s.seqs[p.seq]
		for range p.rows + p.guesses {
			if s.wantsTop(x) {
				h.top[tops], h.keep[tops] = row, int32(x.want-topLogits)
				tops++
			} else {
				h.full[full] = row
				full++
			}
			row++
		}
	}
	return full, tops
}
