package eval

import (
	"fmt"
	"math"
)

// Mean is a share with its standard error.
type Mean struct {
	Value float64 `json:"value"`
	// StdErr is the standard deviation of the sample over √n; 0 for one question,
	// which has none.
	StdErr float64 `json:"stderr"`
}

// String is a table's cell.
func (m Mean) String() string { return fmt.Sprintf("%.4f ± %.4f", m.Value, m.StdErr) }

// Summary is what a file's results come to.
type Summary struct {
	Task     string  `json:"task"`
	N        int     `json:"n"`
	Acc      Mean    `json:"acc"`
	AccNorm  Mean    `json:"acc_norm"`
	AccBytes Mean    `json:"acc_bytes"`
	Chance   float64 `json:"chance"` // acc of a model that guesses
	Cut      int     `json:"cut"`    // questions whose context lost its beginning
}

// Summarize averages results.
func Summarize(task string, results []Result) Summary {
	s := Summary{Task: task, N: len(results)}
	for _, r := range results {
		s.Chance += float64(len(r.Gold)) / float64(len(r.LogLikelihoods)) / float64(len(results))
		if r.Cut {
			s.Cut++
		}
	}
	s.Acc = share(results, func(r Result) int { return r.Acc })
	s.AccNorm = share(results, func(r Result) int { return r.AccNorm })
	s.AccBytes = share(results, func(r Result) int { return r.AccBytes })
	return s
}

// share is the mean of zeros and ones.
func share(results []Result, of func(Result) int) Mean {
	n, ones := float64(len(results)), 0.0
	for _, r := range results {
		ones += float64(of(r))
	}
	m := Mean{Value: ones / n}
	if n > 1 {
		m.StdErr = math.Sqrt(m.Value * (1 - m.Value) / (n - 1))
	}
	return m
}
