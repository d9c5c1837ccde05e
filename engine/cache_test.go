package engine

import (
	"context"
	"math"
	"os"
	"testing"

	"github.com/trit-ml/trit/graph"
)

// TestCacheInCodesScoresAlike scores a text with the embedded model and a cache of
// codes: it differs from one of floats, but hardly.
func TestCacheInCodesScoresAlike(t *testing.T) {
	text, err := os.ReadFile("model.go")
	if err != nil {
		t.Fatal(err)
	}
	score := func(elem graph.DType) float64 {
		e := startEmbedded(t, Shape{Context: 256, Cache: elem})
		ids, err := e.Model.TextIDs(string(text[:3000]))
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.Score(context.Background(), ids, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.Nats / float64(s.Tokens)
	}
	exact, codes := score(graph.F32), score(graph.I8)
	if d := math.Abs(codes - exact); d == 0 || d > 0.005 {
		t.Errorf("%.5f nats a token with codes, %.5f without", codes, exact)
	}
}
