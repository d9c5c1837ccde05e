// Package ops declares the primitive operations of a transformer: one op per
// file, each with its type rule, its reference implementation in plain Go and
// its gradient. The reference favours clarity and exactness over speed; it is
// the oracle that device kernels are tested against.
//
// Shapes are written with S tokens in the step, D features, H query heads, KV
// key/value heads and V vocabulary entries. Reductions accumulate in float64
// unless the op's documentation says otherwise.
package ops
