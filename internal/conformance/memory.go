package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/internal/host"
)

// placement says at which border of a guarded area operands lie.
type placement int

const (
	atEnd   placement = iota // reading or writing on hits the guard
	atStart                  // reading or writing before hits the guard
	flush                    // as atEnd, and operands end exactly there, as mapped weights may
)

// canary fills what does not belong to an operand, garbage a result before it
// is computed. Both are large negative numbers in floats and not zero in codes.
const (
	canary  = 0xc3
	garbage = 0xf7
)

// margin is the canaries around an operand where pages cannot be protected.
const margin = 4 * devices.Align

// memory hands out guarded regions of one run.
type memory struct {
	*bench
	at      placement
	regions []*region
}

// region is the memory of one operand inside a guarded area.
type region struct {
	buf     devices.Buffer
	off, n  int
	host    []byte // the whole area between guards, on a CPU device
	at      int    // where the operand starts in host
	free    func() error
	content []byte // what it held before the kernel ran; nil for results
	after   []byte // the whole area after it, on other devices
}

// area is the whole area and where the operand starts in it.
func (r *region) area() ([]byte, int) {
	if r.host != nil {
		return r.host, r.at
	}
	return r.after, margin
}

// found is what the operand holds after the kernel; see look.
func (r *region) found() []byte {
	all, at := r.area()
	return all[at : at+r.n]
}

// alloc returns a region of n bytes: an operand, which is read only, with data in
// it, or garbage if data is nil.
func (m *memory) alloc(n int, data []byte) (r *region, err error) {
	if m.onHost {
		if r, err = m.allocHost(n, data != nil && m.at == flush); err == nil {
			copy(r.host[r.at:r.at+r.n], data)
		}
	} else {
		r, err = m.allocDevice(n, data)
	}
	if err == nil {
		m.regions = append(m.regions, r)
	}
	return r, err
}

// allocHost places n bytes at a border of an area with unreadable pages on both
// sides. At the end, the start is still aligned as lowering aligns it; the gap
// behind holds canaries.
func (m *memory) allocHost(n int, flush bool) (*region, error) {
	area, free, err := guarded(n + 2*margin)
	if err != nil {
		return nil, err
	}
	for i := range area {
		area[i] = canary
	}
	at := 0
	switch {
	case flush:
		at = len(area) - n
	case m.at != atStart:
		at = (len(area) - n) &^ (devices.Align - 1)
	}
	for i := range n {
		area[at+i] = garbage
	}
	r := &region{buf: host.Wrap(area), off: at, n: n, host: area, at: at, free: free}
	if flush {
		r.buf, r.off = host.Wrap(area[at:]), 0
	}
	return r, nil
}

func (m *memory) allocDevice(n int, data []byte) (*region, error) {
	buf, err := m.dev.Alloc(n + 2*margin)
	if err != nil {
		return nil, err
	}
	fill := bytes.Repeat([]byte{canary}, n+2*margin)
	for i := range n {
		fill[margin+i] = garbage
	}
	copy(fill[margin:], data)
	err = m.q.Write(buf, 0, fill) // read by the time the launch is done
	return &region{buf: buf, off: margin, n: n, free: buf.Free}, err
}

func (m *memory) read(dst []byte, r *region) error {
	if r.host != nil {
		copy(dst, r.host[r.at:r.at+r.n])
		return nil
	}
	return errors.Join(m.q.Read(dst, r.buf, r.off), m.q.Sync(context.Background()))
}

// look reads all areas of a device whose memory the processor does not see.
func (m *memory) look() error {
	if m.onHost {
		return nil
	}
	for _, r := range m.regions {
		r.after = make([]byte, r.n+2*margin)
		if err := m.q.Read(r.after, r.buf, 0); err != nil {
			return err
		}
	}
	return m.q.Sync(context.Background())
}

// verify checks all canaries, and that operands kept their values, except those
// that share memory with a result.
func (m *memory) verify(in []*region, shared map[int]int) error {
	written := map[*region]bool{}
	for _, i := range shared {
		written[in[i]] = true
	}
	for _, r := range m.regions {
		all, at := r.area()
		for i, v := range all {
			if (i < at || i >= at+r.n) && v != canary {
				return fmt.Errorf("byte %d of an operand of %d bytes was written", i-at, r.n)
			}
		}
		if r.content != nil && !written[r] && !bytes.Equal(all[at:at+r.n], r.content) {
			return errors.New("an operand was written that is no result")
		}
	}
	return nil
}

func (m *memory) free() error {
	var errs []error
	for _, r := range m.regions {
		errs = append(errs, r.free())
	}
	return errors.Join(errs...)
}
