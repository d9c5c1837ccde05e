package runtime

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/screen"
)

// Memory is what a plan needs, in bytes.
type Memory struct {
	Arena    int // activations, inputs and scratch, with reuse
	LivePeak int // in use at once: the least any arena can have
	NoReuse  int // with memory of its own for each value
	Weights  int // kept from load, packed or as they are
	Packed   int // of which packed
	States   int
	Read     int  // weights that one step reads; at most, where Skips is set
	Skips    bool // some kernel leaves out weights that meet zeros; see Run.Skipped
}

// Memory reports what a step with the given symbol values needs.
func (p *Program) Memory(syms ...int) (Memory, error) {
	pl, err := p.plan(syms)
	if err != nil {
		return Memory{}, err
	}
	return p.memory(pl)
}

func (p *Program) memory(pl *plan) (Memory, error) {
	m := Memory{Arena: pl.arena, LivePeak: pl.peak, NoReuse: pl.separate}
	for _, s := range p.need {
		n, err := p.storedBytes(s)
		if err != nil {
			return m, err
		}
		m.Weights += n
		if s.layout != "" {
			m.Packed += n
		}
	}
	for _, v := range p.states {
		o, err := p.operandAt(v, p.fixed)
		if err != nil {
			return m, err
		}
		m.States += o.bytes
	}
	for i := range pl.calls {
		n, err := p.weightsRead(&pl.calls[i])
		if err != nil {
			return m, err
		}
		m.Read += n
		m.Skips = m.Skips || pl.calls[i].kernel.Skips
	}
	return m, nil
}

// weightsRead is the bytes of weights that a call reads, each once.
func (p *Program) weightsRead(c *call) (int, error) {
	read := 0
	for j, s := range c.in {
		if p.vals[s.val].kind != atLoad || slices.Contains(c.in[:j], s) {
			continue
		}
		n, err := p.storedBytes(s)
		if err != nil {
			return read, err
		}
		switch op := c.call.Op; {
		case op == ops.EmbeddingOp.OpDef:
			n = min(n, c.call.Out[0].Bytes()) // the rows it is asked for
		case op == screen.TopOp.OpDef && j == 2:
			n = 0 // a handful of rows
		}
		read += n
	}
	return read, nil
}

func (p *Program) storedBytes(s stored) (int, error) {
	o, err := p.operandAt(s.val, p.fixed)
	if err != nil || s.layout == "" {
		return o.bytes, err
	}
	l, ok := p.sel.reg.Layout(s.layout)
	if !ok {
		return 0, fmt.Errorf("the device has no layout %s", s.layout)
	}
	return l.Bytes(o.dims), nil
}

// Explain prints the program as it runs with the given symbol values: the kernel
// of each call, where results lie, the memory plan, which fused ops were inlined,
// and why kernels were not taken. Without values each symbol is 1, or as near as
// its bounds allow.
//
// A result is followed by @ and its offset in the arena, or by = and the operand
// whose memory it takes over; a packed weight by @ and its layout.
func (p *Program) Explain(w io.Writer, syms ...int) error {
	if len(syms) == 0 {
		for _, s := range p.syms {
			syms = append(syms, min(max(s.Min, 1), s.Max)) // at 0 nothing runs
		}
	}
	pl, err := p.plan(syms)
	if err != nil {
		return err
	}
	m, err := p.memory(pl)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "program %s on %s  plan", p.g.Name, p.dev.Name())
	for _, s := range p.g.Syms {
		fmt.Fprintf(b, " %s=%d", s.Name, pl.env[s.Name])
	}
	fmt.Fprintf(b, "  arena %s\n", size(m.Arena))
	fmt.Fprintf(b, "memory   arena %s, in use at once %s, without reuse %s; weights %s (packed %s); states %s\n",
		size(m.Arena), size(m.LivePeak), size(m.NoReuse), size(m.Weights), size(m.Packed), size(m.States))
	less := ""
	if m.Skips {
		less = ", less what meets zeros (measured by a profile)"
	}
	fmt.Fprintf(b, "traffic  %s of weights read per step%s\n", size(m.Read), less)
	p.printCalls(b, pl)
	p.printRejections(b, pl)
	return b.Flush()
}

func (p *Program) printCalls(b *bufio.Writer, pl *plan) {
	wide := 0
	for i := range pl.calls {
		wide = max(wide, len(callName(&pl.calls[i])))
	}
	for i := range pl.calls {
		c := &pl.calls[i]
		fmt.Fprintf(b, "%4d  %-*s ", i, wide, callName(c))
		for j, s := range c.in {
			b.WriteString(" " + p.names[p.vals[c.step.in[j]].v])
			if s.layout != "" {
				b.WriteString("@" + string(s.layout))
			}
		}
		b.WriteString(" ->")
		for j, v := range c.step.out {
			b.WriteString(" " + p.names[p.vals[v].v] + p.placeOf(pl, c, j))
		}
		if len(c.step.n.Pos) > 0 {
			fmt.Fprintf(b, "  // %s", c.step.n.Pos[0])
		}
		b.WriteByte('\n')
	}
}

func callName(c *call) string {
	if c.kernel.Op == nil { // a fallback's name does not tell the op
		return c.call.Op.Name + "." + c.kernel.Name
	}
	return c.kernel.Name
}

// placeOf prints where result j of a call lies.
func (p *Program) placeOf(pl *plan, c *call, j int) string {
	for i, s := range c.in {
		same := s == c.out[j]
		if at := pl.places[s.val]; at != nil && at == pl.places[c.out[j].val] {
			same = true
		}
		if same {
			return "=" + p.names[p.vals[c.step.in[i]].v]
		}
	}
	if at := pl.places[c.out[j].val]; at != nil {
		return fmt.Sprintf("@%d", at.off)
	}
	return ""
}

// printRejections groups equal reasons, because a model repeats its layers.
func (p *Program) printRejections(b *bufio.Writer, pl *plan) {
	type row struct{ op, kernel, reason string }
	count := map[row]int{}
	var rows []row
	for i := range pl.calls {
		c := &pl.calls[i]
		for _, r := range p.sel.rejections(c.step.n, c.step.pick, &c.call, c.kernel.Name) {
			k := row{c.call.Op.Name, r.Kernel, r.Reason}
			if count[k]++; count[k] == 1 {
				rows = append(rows, k)
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.kernel, b.kernel), cmp.Compare(a.reason, b.reason))
	})
	if len(rows) > 0 {
		b.WriteString("not taken\n")
	}
	for _, r := range rows {
		fmt.Fprintf(b, "  %s: %s: %s%s\n", r.op, r.kernel, r.reason, times(count[r]))
	}
	seen := map[string]int{}
	var order []string
	for _, s := range p.inlined {
		if seen[s]++; seen[s] == 1 {
			order = append(order, s)
		}
	}
	if len(order) > 0 {
		b.WriteString("inlined\n")
	}
	for _, s := range order {
		fmt.Fprintf(b, "  %s%s\n", s, times(seen[s]))
	}
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("  ×%d", n)
}

// size prints bytes the way people read them, exactly below 10 KiB.
func size(n int) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	f, u := float64(n), 0
	for f >= 10240 && u < len(units)-1 {
		f /= 1024
		u++
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[u]
}
