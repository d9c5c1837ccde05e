package runtime

import (
	"context"
	"iter"
)

// Generate feeds the prompt to sequence q and draws tokens from it, one for each
// turn of the loop, until the loop ends, the context is full or an error comes,
// which is then the last pair. Other sequences of the session that have tokens
// waiting advance too.
//
//	for id, err := range session.Generate(ctx, q, prompt, sampler) {
//		if err != nil || id == end { … break }
//	}
//
// The token of the last turn has been drawn but not run: feed it to continue.
func (s *Session) Generate(ctx context.Context, q Seq, prompt []int32, sampler *Sampler) iter.Seq2[int32, error] {
	return func(yield func(int32, error) bool) {
		sampler.Accept(prompt...)
		want := sampler.Want()
		err := s.Sample(q, sampler)
		if err == nil {
			err = s.Feed(q, want, prompt...)
		}
		for {
			for err == nil && s.Pending(q) > 0 {
				_, err = s.Step(ctx)
			}
			id := int32(0)
			if err == nil {
				id, err = sampler.Draw(s, q)
			}
			if !yield(id, err) || err != nil || s.Len(q) == s.Context() {
				return
			}
			err = s.Feed(q, want, id)
		}
	}
}
