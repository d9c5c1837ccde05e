// Package graph is the symbolic dataflow graph that everything else in trit
// works on: typed immutable nodes with several results, a builder that reports
// mistakes at the user's line, a verifier, a textual form that parses back to
// the same graph, reverse-mode differentiation that emits graph, and an
// interpreter that runs a graph through the reference implementations of its
// ops.
//
// An op declares its meaning once (see [Def]): a primitive op by a type rule, a
// plain Go reference and a gradient; a fused op by a body in the textual form,
// from which all three follow.
//
// The package depends on the standard library only.
package graph
