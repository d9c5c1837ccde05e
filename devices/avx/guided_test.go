package avx

import "testing"

func TestGuided(t *testing.T) {
	for _, c := range [][3]int{{0, 2, 2}, {1, 3, 2}, {41, 2, 2}, {54, 3, 1}, {54, 3, 2}, {54, 3, 16}, {7, 3, 64}, {1000, 1, 5}} {
		n, least, threads := c[0], c[1], c[2]
		at, last := 0, n
		for from, to := range guided(n, least, threads) {
			size := to - from
			if from != at || size < 1 || size > last {
				t.Fatalf("%v: task from %d to %d after %d, which had at most %d", c, from, to, at, last)
			}
			if ends := to == n; size < least && !ends && n >= 8*threads*least {
				t.Errorf("%v: a task of %d", c, size)
			}
			at, last = to, size
		}
		if at != n {
			t.Errorf("%v: tasks end at %d", c, at)
		}
		for range guided(n, least, threads) {
			break // stops without a panic
		}
	}
}
