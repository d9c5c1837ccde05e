package devices

// Communicator joins the processes (ranks) that run one program each on a part
// of the data. It only moves bytes: arithmetic is done by kernels, in the order
// of ranks, so that results do not depend on how an engine routes messages.
//
// Every rank must make the same calls in the same order. A Communicator is used
// by one goroutine at a time.
type Communicator interface {
	Rank() int
	Size() int
	// AllToAll sends send[at[i]:at[i]+n[i]] to each rank i. What the ranks send
	// to this one, n[Rank()] bytes each, comes to lie in recv, one after the
	// other in the order of ranks. at and n are the same on every rank.
	AllToAll(recv, send []byte, at, n []int) error
	// AllGather puts buf[at[i]:at[i]+n[i]] of each rank i into the same place
	// of every other rank's buf. at and n are the same on every rank.
	AllGather(buf []byte, at, n []int) error
}

// Joiner is a device that has kernels for collective ops.
type Joiner interface {
	Device
	// Join returns the same device with those kernels bound to c.
	Join(c Communicator) Device
}
