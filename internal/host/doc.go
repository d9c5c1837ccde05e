// Package host is what every device on the CPU shares: memory, an ordered queue
// over a worker pool, captured sequences, and the fallback kernel that runs an
// op's reference implementation. A CPU device is then a table of kernels and
// layouts given to [New].
//
// A kernel binds to a [Launch]: phases that run one after the other, each a
// number of tasks shared by the pool's workers. The tasks of a phase must not
// depend on each other, and how work is cut into tasks must not depend on the
// number of threads where that could change a floating-point result.
package host
