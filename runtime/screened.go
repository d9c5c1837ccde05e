package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/screen"
)

// Names of the inputs of a screened head; see passes.ScreenHead.
const (
	inputFull = "full"
	inputTop  = "top"
	inputKeep = "keep"
	inputDraw = "draw"
)

// screened is what a session with a screened head has besides.
type screened struct {
	in              struct{ full, top, keep, draw Input }
	symF, symT      int
	full, top, keep []int32
	logits          []float32 // of output 1
	// If outputs 1 and 2 are lists of the likeliest tokens: how many one holds, and
	// those of the last step. Logits are then made when somebody asks for them.
	list     int
	ids      []int32
	likely   []float32
	expanded bool
	listed   bool  // the lists of the last step have been read
	err      error // why they could not be

	draws *draws // nil if the program draws no tokens
}

// draws is what a session has besides whose program draws from its lists.
type draws struct {
	how   []int32   // of each row, as screen.DrawOp takes it
	by    []drawnBy // the sampler that each row is for
	all   bool      // every row of the step is for one: the lists stay where they are
	drawn []int32   // in the last step, nil if lists were read
}

// drawnBy is the draw that a sampler is going to make.
type drawnBy struct {
	sampler *Sampler
	count   uint64
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
	if want := graph.T(graph.I32, top[0]); h.draws != nil && (len(outs) < 4 || !outs[3].Equal(want)) {
		return fmt.Errorf("outputs 3 and on are %v, want the drawn tokens %s", outs[3:], want)
	}
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
	if err != nil || x.rows == 0 || !x.top || s.head.list == 0 || s.head.readLists(context.Background(), s.run) != nil {
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
func (h *screened) expand(run *Run, vocab int) []float32 {
	if h.list == 0 || h.expanded {
		return h.logits
	}
	if h.readLists(context.Background(), run) != nil {
		return nil
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

// Sample lets the program draw the tokens that follow q's, where it can, as sampler
// is going to: Sampler.Draw then finds the token drawn, the same that it would draw
// itself, and no logits leave the device. It holds until q ends or another sampler, or
// nil, is given.
func (s *Session) Sample(q Seq, sampler *Sampler) error {
	x, err := s.at(q)
	if err == nil {
		x.sampler = sampler
	}
	return err
}

// drawn is the token that the last step drew for the sampler's next draw.
func (s *Session) drawn(q Seq, sampler *Sampler) (int32, bool) {
	x, err := s.at(q)
	if err != nil || x.rows == 0 || !x.top || s.head.draws == nil || s.head.draws.drawn == nil {
		return 0, false
	}
	d, row := s.head.draws, x.row+x.rows-1
	return d.drawn[row], d.by[row] == drawnBy{sampler, sampler.how(0).Count}
}

// plan says how the n-th wanted row of a sequence is drawn.
func (d *draws) plan(row int, sampler *Sampler, n int) {
	how := screen.Draw{}
	d.by[row] = drawnBy{}
	if sampler == nil {
		d.all = false
	} else {
		how = sampler.how(uint64(n))
		d.by[row] = drawnBy{sampler, how.Count}
	}
	how.Put(d.how[row*screen.DrawWords:])
}

// drawnOutput is the output that has the tokens drawn.
const drawnOutput = 3

// bring says which outputs the next step is read for. If another may be queued behind
// it, lists of which tokens were drawn come too, in case somebody asks for them.
func (s *Session) bring(full, tops int, ahead bool) {
	var outs [4]int
	n := 0
	if full > 0 {
		outs[n] = 0
		n++
	}
	if h := s.head; h != nil && tops > 0 {
		if h.draws != nil && h.draws.all {
			outs[n] = drawnOutput
			n++
		}
		if h.draws != nil && h.draws.all && !ahead {
			s.run.Bring(outs[:n]...)
			return
		}
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
	h.listed, h.expanded, h.err = false, false, nil
	if d := h.draws; d != nil {
		if d.drawn = nil; d.all {
			t, err := r.Output(ctx, drawnOutput)
			if err == nil {
				d.drawn = t.I32()
			}
			return err
		}
	}
	if h.list > 0 {
		return h.readLists(ctx, r)
	}
	t, err := r.Output(ctx, 1)
	if err != nil {
		return err
	}
	h.logits = t.F32()
	return nil
}

// readLists reads the lists of the last step, once.
func (h *screened) readLists(ctx context.Context, r *Run) error {
	if h.listed {
		return h.err
	}
	h.listed = true
	t, err := r.Output(ctx, 1)
	if err == nil {
		h.ids = t.I32()
		if t, err = r.Output(ctx, 2); err == nil {
			h.likely = t.F32()
		}
	}
	h.err = err
	return err
}

// split tells the heads apart: which of the scheduled rows need all logits.
func (s *Session) split() (full, tops int) {
	h, row := s.head, int32(0)
	if h.draws != nil {
		h.draws.all = true
	}
	for _, p := range s.batch {
		x := &s.seqs[p.seq]
		for i := range p.rows + p.guesses {
			if s.wantsTop(x) {
				h.top[tops], h.keep[tops] = row, int32(x.want-topLogits)
				if h.draws != nil {
					h.draws.plan(tops, x.sampler, i)
				}
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
