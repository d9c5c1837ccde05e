package avx

import "github.com/trit-ml/trit/devices/avx/internal/asm"

// The backward pass recomputes the probabilities from the log-sum-exp, once for
// blocks of queries and once for blocks of keys, so that no two tasks add to the
// same gradient (Dao et al. 2022). With p the probabilities and
// ds = p·(do·v − Σ do·o): dq = scale·Σ ds·k, dk = scale·Σ ds·q, dv = Σ p·do.

// rowSums prepares the terms of a block of tokens that both need, negated.
func (at *attention) rowSums(block int) {
	for i := block * attnBlock; i < min(at.s, (block+1)*attnBlock); i++ {
		for h := range at.a.Heads {
			o := i*at.d + h*at.hd
			at.delta[h*at.s+i] = -at.isa.Dot(at.do[o:o+at.hd], at.o[o:o+at.hd])
			at.negLSE[h*at.s+i] = -at.lse[i*at.a.Heads+h]
		}
	}
}

// gradQueries is one task: dq of a block of tokens.
func (at *attention) gradQueries(task, worker int) {
	from, to, kv := at.block(task)
	w := &at.work[worker]
	low, high := hull(from, to, at.keysOf)
	m, n := to-from, high-low
	keysT, valuesT, keys := w.packed[0], w.packed[1], w.packed[2]
	at.isa.PackB(keysT, asm.Mat{Data: at.key(at.k, low, kv), Ld: at.dkv, Trans: true}, n, at.hd)
	at.isa.PackB(valuesT, asm.Mat{Data: at.key(at.v, low, kv), Ld: at.dkv, Trans: true}, n, at.hd)
	at.isa.PackB(keys, asm.Mat{Data: at.key(at.k, low, kv), Ld: at.dkv}, at.hd, n)
	for h := range at.group {
		head := kv*at.group + h
		at.scaledRows(w.rows, at.query(at.q, from, kv, h), at.d, m)
		at.isa.MulPacked(w.scores, n, w.rows, at.hd, keysT, m, n, at.hd, false, w.edge)
		at.isa.MulPacked(w.grad, n, at.query(at.do, from, kv, h), at.d, valuesT, m, n, at.hd, false, w.edge)
		for i := range m {
			row, ds := w.scores[i*n:(i+1)*n], w.grad[i*n:(i+1)*n]
			seen := at.maskKeys(row, from+i, low)
			at.isa.ExpScaled(seen, seen, 1, -at.negLSE[head*at.s+from+i])
			at.dropKeys(ds, from+i, head, low, w)
			at.isa.SubMul(ds, ds, -at.delta[head*at.s+from+i], row)
		}
		dq := at.query(at.dq, from, kv, h)
		at.isa.MulPacked(dq, at.d, w.grad, n, keys, m, at.hd, n, false, w.edge)
		for i := range m {
			row := dq[i*at.d:][:at.hd]
			at.isa.Scale(row, row, at.scale)
		}
	}
}

// gradKeys is one task: dk and dv of a block of tokens, summed over the query
// heads of the group in order.
func (at *attention) gradKeys(task, worker int) {
	from, to, kv := at.block(task)
	w := &at.work[worker]
	low, high := hull(from, to, at.queriesOf)
	m, n := to-from, high-low
	queriesT, gradsT, queries, grads := w.packed[0], w.packed[1], w.packed[2], w.packed[3]
	at.scaledRows(w.rows, at.key(at.k, from, kv), at.dkv, m)
	dk, dv := at.key(at.dk, from, kv), at.key(at.dv, from, kv)
	for h := range at.group {
		head := kv*at.group + h
		q, do := at.query(at.q, low, kv, h), at.query(at.do, low, kv, h)
		at.isa.PackB(queriesT, asm.Mat{Data: q, Ld: at.d, Trans: true}, n, at.hd)
		at.isa.PackB(gradsT, asm.Mat{Data: do, Ld: at.d, Trans: true}, n, at.hd)
		at.isa.PackB(queries, asm.Mat{Data: q, Ld: at.d}, at.hd, n)
		at.isa.PackB(grads, asm.Mat{Data: do, Ld: at.d}, at.hd, n)
		negLSE, delta := at.negLSE[head*at.s:][low:high], at.delta[head*at.s:][low:high]
		at.isa.MulPacked(w.scores, n, w.rows, at.hd, queriesT, m, n, at.hd, false, w.edge)
		for j := range m {
			row := w.scores[j*n : (j+1)*n]
			at.isa.Add(row, row, negLSE)
			seen := at.maskQueries(row, from+j, low)
			at.isa.Exp(seen, seen)
		}
		at.isa.MulPacked(w.grad, n, at.key(at.v, from, kv), at.dkv, gradsT, m, n, at.hd, false, w.edge)
		if at.drop != nil {
			at.dropQueries(w.scores, w.grad, delta, from, m, low, n, head)
		} else {
			for j := range m {
				row, ds := w.scores[j*n:(j+1)*n], w.grad[j*n:(j+1)*n]
				at.isa.Add(ds, ds, delta)
				at.isa.Mul(ds, ds, row)
			}
		}
		at.isa.MulPacked(dv, at.dkv, w.scores, n, grads, m, at.hd, n, h > 0, w.edge)
		at.isa.MulPacked(dk, at.dkv, w.grad, n, queries, m, at.hd, n, h > 0, w.edge)
	}
	for j := range m {
		row := dk[j*at.dkv:][:at.hd]
		at.isa.Scale(row, row, at.scale)
	}
}

// dropQueries makes ds of the products do·v in grad, negated delta of the queries,
// and the probabilities, which it then multiplies with the factors of dropout: rows
// are m keys from from on, columns n queries from low on.
func (at *attention) dropQueries(probs, grad, delta []float32, from, m, low, n, head int) {
	scale := at.drop.Scale()
	for j := 0; j < m; j += 8 {
		for i := range n {
			kept := at.drop.Kept(low+i, head, from+j)
			for b := range min(8, m-j) {
				x := (j+b)*n + i
				p, dov := probs[x], float32(0)
				probs[x] = 0
				if kept>>b&1 != 0 {
					dov, probs[x] = grad[x]*scale, p*scale
				}
				grad[x] = p * (dov + delta[i])
			}
		}
	}
}

// maskQueries is maskKeys for the column of key j: row begins at token low.
func (at *attention) maskQueries(row []float32, j, low int) []float32 {
	a, b := at.queriesOf(j)
	clear(row[:a-low])
	clear(row[b-low:])
	seen := row[a-low : b-low]
	if !at.regular {
		for i := range seen {
			if !at.sees(a+i, j) {
				seen[i] = negInf
			}
		}
	}
	return seen
}
