package avx

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/avx/internal/asm"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/host"
	"github.com/trit-ml/trit/ops/bitlinear"
)

// sparseKernels are products with activations that are zero in many places: for
// few tokens only the columns that meet something else are read.
func (u *unit) sparseKernels() []devices.Kernel {
	return []devices.Kernel{u.row(devices.Kernel{
		Name:    "fused.relu2_glu_down." + string(colsLayout),
		Op:      bitlinear.GLUDownOp.OpDef,
		Layouts: []graph.Layout{"", "", "", colsLayout},
		InPlace: []graph.Update{{In: 5, Out: 0}},
		Order:   "lanes32", // of the norm; the rest is exact or element by element
		Accept: func(c *devices.Call) error {
			if n, k := c.In[3].Dims[0], c.In[3].Dims[1]; k > 1<<20 || asm.PackedColsBytes(n, k) >= 1<<31 {
				return fmt.Errorf("it takes weights of less than 2 GiB and at most %d columns, not %d", 1<<20, k)
			}
			return eightBits(c.Attrs.(bitlinear.NormQuantAttrs).Bits)
		},
		Cost:  u.linearCost,
		Skips: true,
		Scratch: func(c *devices.Call) int {
			s := &scratch{}
			u.newGLUDown(c, 3, s)
			return s.size
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			d := u.newGLUDown(c, 3, bindScratch(c))
			d.gate, d.up = f32(c.In[0]), f32(c.In[1])
			if err := d.products[0].find(d.k); err != nil {
				return nil, err
			}
			return host.Launch{Where: c.Where, Phases: d.phases(), Unread: d.unread}, nil
		},
	}), u.mlpKernel()}
}

// gluDown is a bound call of fused.relu2_glu_down.
type gluDown struct {
	*linear
	gate, up []float32 // [S,K]
	gain     []float32 // [K], of the norm
	eps      float32
	rows     [][]float32 // by worker: relu2(gate)·up of a row
	gated    bool        // up is that already

	// For few tokens: tasks are groups of lines of rows by parts of the columns. Several
	// tokens take a part in pieces, which stay in a cache.
	groups, parts, pieces int
	cols                  []asm.Columns // [S,parts,pieces]
	sumsOf                []int32       // [S,parts,pieces]: Σ q of the piece
	acc                   []int32       // [S,parts,padded N]
}

// colsTasks is how many tasks each worker should find, so that none waits long
// for the last one.
const colsTasks = 4

// alone is how many tokens take a part one after the other, which leaves its lines in a
// cache; from more on pieces pay (measured on a Zen 4).
const alone = 12

// pieceCols is the most columns of a piece: two lines of each take a quarter of the L2
// cache of a core, and those of the next piece another one.
const pieceCols = 2048

// newGLUDown lays out the part of a call whose operands from down on are the
// weights, their scale and the residual stream, behind the norm's gain.
func (u *unit) newGLUDown(c *devices.Call, down int, mem *scratch) *gluDown {
	w := c.In[down]
	ps := []product{{w: w, gamma: f32(c.In[down+1]), res: f32(c.In[down+2]), y: f32(c.Out[0]), layout: colsLayout}}
	d := &gluDown{linear: u.newLinear(first(c.In[0]), w.Dims[1], ps, false, mem)}
	d.gain, d.eps = f32(c.In[down-1]), float32(c.Attrs.(bitlinear.NormQuantAttrs).Eps)
	d.q = part[int8](mem, d.s*d.k)
	d.scales = part[float32](mem, d.s)
	d.rows = parts[float32](mem, u.threads, d.k)
	if !d.few {
		return d
	}
	n := d.products[0].n
	d.groups, d.parts = 1, 1
	if u.threads > 1 || d.s > 1 {
		// Two lines are what a processor fetches together; parts must be long
		// enough to have columns to ask for ahead.
		d.groups = ceilDiv(n, 2*asm.ColRows)
		d.parts = max(1, min(ceilDiv(colsTasks*u.threads, d.groups), d.k/1024))
	}
	d.pieces = 1
	if d.s > alone {
		d.pieces = max(1, ceilDiv(d.k/d.parts, pieceCols))
	}
	d.cols = make([]asm.Columns, d.s*d.parts*d.pieces)
	for i := range d.cols {
		size := asm.ColumnsLen(ceilDiv(d.k, d.parts*d.pieces))
		d.cols[i] = asm.NewColumns(part[uint32](mem, size), part[int8](mem, size))
	}
	d.sumsOf = part[int32](mem, len(d.cols))
	d.acc = part[int32](mem, d.s*d.parts*d.padded())
	return d
}

// padded is the number of sums of a product, in whole lines.
func (d *gluDown) padded() int { return ceilDiv(d.products[0].n, asm.ColRows) * asm.ColRows }

// quantize makes the codes that a token's down projection multiplies.
func (d *gluDown) quantize(t, worker int) {
	m, k := d.rows[worker], d.k
	if up := d.up[t*k : (t+1)*k]; d.gated {
		m = up
	} else {
		d.isa.Relu2Mul(m, d.gate[t*k:(t+1)*k], up)
	}
	d.scales[t], d.sums[t] = d.isa.RMSNormQuant(d.q[t*k:(t+1)*k], m, d.gain, d.eps)
}

func (d *gluDown) phases() []host.Phase {
	if !d.few {
		size := max(1, taskElements/max(d.k, 1))
		return []host.Phase{
			{Tasks: ceilDiv(d.s, size), Run: func(task, worker int) {
				for t := task * size; t < min(d.s, (task+1)*size); t++ {
					d.quantize(t, worker)
				}
			}},
			{Tasks: len(d.tiles), Run: d.run},
		}
	}
	return []host.Phase{
		{Tasks: d.s, Run: func(t, worker int) {
			d.quantize(t, worker)
			d.list(t)
		}},
		{Tasks: d.parts * d.groups, Run: d.multiply},
		{Tasks: d.s, Run: func(t, _ int) { d.finish(t) }},
	}
}

// unread is the bytes of weights that no token of the last run needed. Tokens are
// taken one after the other, so what several need counts as often.
func (d *gluDown) unread() int {
	if !d.few {
		return 0
	}
	read := 0
	for i := range d.cols {
		read += d.cols[i].Len() * asm.ColBytes(d.products[0].n)
	}
	return max(0, len(d.products[0].packed)-read)
}

// list finds the columns that meet something, for each part.
func (d *gluDown) list(t int) {
	all := d.parts * d.pieces
	for i := range all {
		from, to := d.piece(i)
		q := d.q[t*d.k+from : t*d.k+to]
		d.cols[t*all+i].Set(d.isa, q, from, d.products[0].n)
		d.sumsOf[t*all+i] = asm.SumI8(q)
	}
}

// piece is the columns of a piece.
func (d *gluDown) piece(i int) (from, to int) {
	all := d.parts * d.pieces
	return d.k * i / all, d.k * (i + 1) / all
}

// multiply computes one group of lines of one part.
func (d *gluDown) multiply(task, _ int) {
	p, padded := &d.products[0], d.padded()
	r0, r1 := d.rowsOf(task % d.groups)
	part := task / d.groups
	if d.s <= alone {
		for t := range d.s {
			i := t*d.parts + part
			d.isa.TernaryColsGEMV(d.acc[i*padded+r0:i*padded+r1], p.packed, &d.cols[i], d.sumsOf[i], p.n, r0, min(r1, p.n))
		}
		return
	}
	for t := range d.s {
		at := (t*d.parts + part) * padded
		clear(d.acc[at+r0 : at+r1])
	}
	for j := part * d.pieces; j < (part+1)*d.pieces; j++ {
		// Together the tokens ask for the next piece, or for the first one of the task
		// that this thread is likely to take next.
		next, row := j+1, r0
		if next == (part+1)*d.pieces {
			later := min(task+len(d.rows), d.parts*d.groups-1)
			next = later / d.groups * d.pieces
			row, _ = d.rowsOf(later % d.groups)
		}
		from, to := d.piece(next)
		for t := range d.s {
			ahead := (from+(to-from)*t/d.s)*asm.ColBytes(p.n) + asm.ColBytes(row)
			i := t*d.parts*d.pieces + j
			for r := r0; r < r1; r += asm.ColRows {
				acc := d.acc[(t*d.parts+part)*padded+r:][:asm.ColRows]
				d.isa.TernaryColsAdd(acc, p.packed, &d.cols[i], d.sumsOf[i], p.n, r, p.packed[min(ahead, len(p.packed)):])
				ahead += asm.ColBytes(asm.ColRows)
			}
		}
	}
}

// rowsOf is the rows of a group of lines.
func (d *gluDown) rowsOf(group int) (r0, r1 int) {
	lines := d.padded() / asm.ColRows
	return lines * group / d.groups * asm.ColRows, lines * (group + 1) / d.groups * asm.ColRows
}

// finish adds the parts and scales the sums.
func (d *gluDown) finish(t int) {
	p, padded := &d.products[0], d.padded()
	sums := d.acc[t*d.parts*padded:][:d.parts*padded]
	total := sums[:p.n]
	for i := 1; i < d.parts; i++ {
		for r, v := range sums[i*padded:][:p.n] {
			total[r] += v
		}
	}
	at := t * p.n
	d.isa.RescaleAdd(p.y[at:at+p.n], total, p.gamma[0]/d.scales[t], p.res[at:at+p.n])
}
