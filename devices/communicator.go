package devices

import "errors"

// ErrGone is wrapped by errors of ranks whose communication failed because
// another one ended.
var ErrGone = errors.New("another rank has left")

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

// Watcher is a Communicator that can tell that a rank is gone, so that a device
// whose collectives do not go through it gives up those that wait for the rank.
type Watcher interface {
	Communicator
	// Gone is closed when a rank has left the others.
	Gone() <-chan struct{}
}

// Several is devices that are to share the work as ranks of one process.
type Several interface {
	Device // the first of them
	Each() []Device
}

// Joiner is a device that has kernels for collective ops.
type Joiner interface {
	Device
	// Join returns the same device with those kernels. They send operands
	// through c; or the device has collectives of its own, such as those between
	// GPUs, which are queued with the other kernels and whose operands never come
	// to the host. Then c only brings the ranks together, when the first queue is
	// made: every rank makes its queues in the same order.
	Join(c Communicator) Member
}

// Member is a device joined to those of other ranks.
type Member interface {
	Device
	// Leave parts it from them, when no run on it is open any more. The device
	// itself stays open.
	Leave() error
}
