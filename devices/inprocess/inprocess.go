// Package inprocess joins goroutines of one process as ranks. It is the engine
// of tests and of programs that hold several devices in one process; it needs
// no library.
package inprocess

import (
	"fmt"
	"sync"

	"github.com/trit-ml/trit/devices"
)

// Group returns the communicators of n ranks, each to be used by a goroutine of
// its own.
func Group(n int) []*Communicator {
	g := &group{n: n, posts: make([]post, n), gone: make(chan struct{})}
	g.cond.L = &g.mu
	cs := make([]*Communicator, n)
	for i := range cs {
		cs[i] = &Communicator{g: g, rank: i}
	}
	return cs
}

// Communicator is one rank of a [Group].
type Communicator struct {
	g    *group
	rank int
}

var _ devices.Watcher = (*Communicator)(nil)

// group meets all ranks twice for each exchange: when everything to send is
// posted, and when everybody has taken it.
type group struct {
	mu    sync.Mutex
	cond  sync.Cond
	n     int
	here  int // ranks that wait at the present meeting
	round uint64
	left  bool
	gone  chan struct{} // closed when left is set
	posts []post
}

type post struct {
	what string
	data []byte
	at   []int
	size []int
}

func (g *group) meet() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left {
		return devices.ErrGone
	}
	round := g.round
	if g.here++; g.here == g.n {
		g.here, g.round = 0, round+1
		g.cond.Broadcast()
		return nil
	}
	for g.round == round && !g.left {
		g.cond.Wait()
	}
	if g.round == round {
		return devices.ErrGone
	}
	return nil
}

// Rank implements devices.Communicator.
func (c *Communicator) Rank() int { return c.rank }

// Size implements devices.Communicator.
func (c *Communicator) Size() int { return c.g.n }

// Leave ends the group: exchanges of other ranks fail with devices.ErrGone, now and
// later.
func (c *Communicator) Leave() {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if !c.g.left {
		c.g.left = true
		close(c.g.gone)
	}
	c.g.cond.Broadcast()
}

// Gone implements devices.Watcher.
func (c *Communicator) Gone() <-chan struct{} { return c.g.gone }

// AllToAll implements devices.Communicator.
func (c *Communicator) AllToAll(recv, send []byte, at, n []int) error {
	return c.exchange(post{"all-to-all", send, at, n}, func() {
		for r, p := range c.g.posts {
			copy(recv[r*n[c.rank]:(r+1)*n[c.rank]], p.data[p.at[c.rank]:])
		}
	})
}

// AllGather implements devices.Communicator.
func (c *Communicator) AllGather(buf []byte, at, n []int) error {
	return c.exchange(post{"all-gather", buf, at, n}, func() {
		for r, p := range c.g.posts {
			if r != c.rank {
				copy(buf[at[r]:at[r]+n[r]], p.data[p.at[r]:])
			}
		}
	})
}

func (c *Communicator) exchange(p post, take func()) error {
	c.g.posts[c.rank] = p
	if err := c.g.meet(); err != nil {
		return err
	}
	var err error
	for r, q := range c.g.posts {
		if q.what != p.what || len(q.at) != len(p.at) || q.size[c.rank] != p.size[c.rank] {
			err = fmt.Errorf("rank %d does %s of %v bytes while rank %d does %s of %v", c.rank, p.what, p.size, r, q.what, q.size)
		}
	}
	if err == nil {
		take()
	}
	if e := c.g.meet(); err == nil {
		err = e
	}
	return err
}
