package runtime

import (
	"errors"
	"fmt"

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
	for i, w := range want {
		if t := outs[i]; t.Elem != graph.F32 || t.Rank() != 2 || t.Shape[0] != w[0] || t.Shape[1] != outs[0].Shape[1] {
			return fmt.Errorf("output %d is %s, want f32[%s, vocabulary]", i, t, w[0])
		}
	}
	return nil
}

// wantsTop reports whether x's row goes to the screened head.
func (s *Session) wantsTop(x *sequence) bool { return s.head != nil && x.want > topLogits }

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
