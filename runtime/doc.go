// Package runtime turns a graph into a program for one device and runs it.
//
// [Compile] decides everything that can be decided before anything runs: fused
// ops that no kernel claims are inlined, every node gets the kernels it may use,
// weights get the packed layout their kernels ask for, and memory is planned
// from liveness. [Program.Load] takes the weights from a [Source] and runs the
// part of the graph that depends on weights only, once. A [Run] then owns the
// memory of one sequence of steps: an arena for activations and the graph's
// states.
//
//	prog, err := runtime.Compile(g, ref.Device(ref.Options{}))
//	err = prog.Load(ctx, weights)
//	run, err := prog.NewRun()
//	defer run.Close()
//	tokens, err := prog.Input("tokens")
//	run.SetI32(tokens, ids)
//	err = run.Step(ctx, len(ids))        // one value for each of prog.Syms()
//	logits, err := run.Output(ctx, 0)    // a copy, reused by the next call
//
// For every assignment of the graph's symbols (how many tokens, how many rows)
// there is a plan: the kernel of each node, the offset of each value, the bound
// and captured calls. Plans are made when a step first needs them and kept; a
// step whose plan exists allocates nothing and decides nothing.
//
// # Language models
//
// A [Session] runs what the infer pipeline makes of a language model, for many
// sequences at once over a paged cache; a [Sampler] draws the next token.
//
//	s, err := runtime.NewSession(prog)
//	q, err := s.Open()
//	sampler, err := runtime.NewSampler(s.Vocab(), runtime.Sampling{Temperature: 0.8, TopP: 0.95})
//	for id, err := range s.Generate(ctx, q, prompt, sampler) { … }
//
// Feed and Step are the pieces of Generate for callers that batch: feed any
// number of sequences, step until nothing waits, read each one's Logits. Fork
// shares a prefix, Truncate rewinds, End frees.
//
// # Training
//
// Parameters that a step updates are states: set them with [Run.WriteState],
// save them with [Run.ReadState].
//
// # Numbers
//
// A plan may choose another kernel than the next one, but only among kernels
// that share a reduction order, so that a row's bits do not depend on how many
// rows are computed with it.
//
// # Concurrency
//
// A Program is immutable after Load and may be shared: any number of Runs can
// use its weights at the same time. A Run is used by one goroutine at a time.
package runtime
