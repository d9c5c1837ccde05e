package avx

import "iter"

// guided splits n units of work into tasks, half-open ranges that threads take in
// this order. Each is three quarters of a thread's share of what is left, so that
// the first are long and the last end together ("guided self-scheduling",
// Polychronopoulos and Kuck, 1987), and has at least least units where there are
// enough for all threads: reads are slow where a task begins.
func guided(n, least, threads int) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		least := max(1, min(least, n/(8*threads)))
		for from := 0; from < n; {
			to := min(n, from+max(least, (n-from)*3/(4*threads)))
			if !yield(from, to) {
				return
			}
			from = to
		}
	}
}
