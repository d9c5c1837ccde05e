package asm

// SumI8 returns Σ q, the correction that the unsigned codes need:
// Σ q·code = Σ q·u − Σ q.
func SumI8(q []int8) (sum int32) {
	for _, v := range q {
		sum += int32(v)
	}
	return sum
}

// PadRow copies a row of activations and fills the rest of dst with zeros.
func PadRow(dst, q []int8) { clear(dst[copy(dst, q):]) }

// Ternary computes acc[t,r] = Σ_i q[t,i]·w[r,i] for m tokens and the rows of
// whole panels of k columns, exactly for every int8 q and k < 2^24. It adds
// init[t], which callers set to −Σ q[t]: codes are stored plus one.
//
// acc is [m, panels·PanelRows]; q is [m,kp] with kp = PaddedCols(k) and zeros
// beyond k. Weights are read once for four tokens with SDOT, once for each
// without.
func (isa ISA) Ternary(acc []int32, packed []byte, q []int8, init []int32, m, panels, k int) {
	kp, n := PaddedCols(k), panels*PanelRows
	acc, packed, q, init = acc[:m*n], packed[:panels*PackedBytes(PanelRows, k)], q[:m*kp], init[:m]
	if m == 0 || panels == 0 {
		return
	}
	if isa == Generic || k == 0 {
		for t := range m {
			ternary(acc[t*n:][:n], packed, q[t*kp:][:kp], init[t])
		}
		return
	}
	t, blocks := 0, kp/BlockCols
	if isa == DotProd {
		for ; t+4 <= m; t += 4 {
			ternary4Dot(&acc[t*n], n, &packed[0], &q[t*kp], kp, blocks, panels, &init[t])
		}
	}
	for ; t < m; t++ {
		if isa == DotProd {
			ternary1Dot(&acc[t*n], &packed[0], &q[t*kp], blocks, panels, init[t])
		} else {
			ternary1Mull(&acc[t*n], &packed[0], &q[t*kp], blocks, panels, init[t])
		}
	}
}

// ternary is the twin, for one token; q is padded.
func ternary(acc []int32, packed []byte, q []int8, init int32) {
	pb := len(q) * PanelRows / 4
	for r := range acc {
		panel := packed[r/PanelRows*pb:][:pb]
		sum := init
		for i, v := range q {
			at, bit := place(r, i)
			sum += int32(v) * int32(panel[at]>>bit&3)
		}
		acc[r] = sum
	}
}

// Rescale writes y = acc·f. y is as long as acc or longer.
func (isa ISA) Rescale(y []float32, acc []int32, f float32) {
	y = y[:len(acc)]
	n := isa.whole(len(acc))
	if n > 0 {
		rescaleNEON(&y[0], &acc[0], n/group, f)
	}
	for i := n; i < len(acc); i++ {
		y[i] = float32(acc[i]) * f
	}
}

// RescaleAdd writes y = acc·f + res, rounded twice. y and res are as long as acc
// or longer and may be the same.
func (isa ISA) RescaleAdd(y []float32, acc []int32, f float32, res []float32) {
	y, res = y[:len(acc)], res[:len(acc)]
	n := isa.whole(len(acc))
	if n > 0 {
		rescaleAddNEON(&y[0], &acc[0], &res[0], n/group, f)
	}
	for i := n; i < len(acc); i++ {
		y[i] = float32(float32(acc[i])*f) + res[i]
	}
}
