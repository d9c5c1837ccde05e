package cuda

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// Sizes of kernels/scatter.cu.
const (
	mostPieces    = 16
	pieceData     = 3072
	piecesFrom    = 8 * mostPieces
	piecesAt      = 2 * piecesFrom // of the ends
	piecesCount   = piecesAt + 4*mostPieces
	piecesData    = piecesCount + 8
	piecesBytes   = piecesData + pieceData
	scatterBytes  = piecesBytes + 8 // and the pointer to them
	scatterThread = 256
)

// scatter collects small writes, copies and reads of a queue, such as the results of a
// step and the inputs of the next, for one kernel that does them all: each by itself is a
// copy that takes longer to start than the kernel.
type scatter struct {
	fn    driver.Function
	block []byte // page-locked: the kernel's parameter, and the pointer to it

	mu   sync.Mutex // memory may be freed by anybody
	to   [mostPieces]driver.Ptr
	from [mostPieces]driver.Ptr // 0: the piece is in block
	end  [mostPieces]int
	n    int
}

// newScatter prepares collecting. The caller has the context current.
func newScatter(d *Device, fn driver.Function) (*scatter, error) {
	b, err := d.api.HostAlloc(scatterBytes)
	if err != nil {
		return nil, err
	}
	p := uint64(uintptr(unsafe.Pointer(&b[0])))
	binary.NativeEndian.PutUint64(b[piecesBytes:], p)
	return &scatter{fn: fn, block: b}, nil
}

// add takes a write, or reports false: it is not small, or has no place beside the
// others.
func (s *scatter) add(to driver.Ptr, src []byte) bool { return s.take(to, 0, len(src), src) }

// move takes a copy of n bytes, also to page-locked memory.
func (s *scatter) move(to, from driver.Ptr, n int) bool { return s.take(to, from, n, nil) }

func (s *scatter) take(to, from driver.Ptr, n int, src []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := 0
	if s.n > 0 {
		at = s.end[s.n-1]
	}
	if s.n == mostPieces || n > pieceData-at || n%4 != 0 || to%4 != 0 || from%4 != 0 {
		return false
	}
	for i, start := 0, 0; i < s.n; i++ {
		size := driver.Ptr(s.end[i] - start)
		meets := func(p driver.Ptr) bool { return p < s.to[i]+size && s.to[i] < p+driver.Ptr(n) }
		if meets(to) || from != 0 && meets(from) { // sources are read before all writes
			return false
		}
		start = s.end[i]
	}
	copy(s.block[piecesData+at:], src)
	s.to[s.n], s.from[s.n], s.end[s.n] = to, from, at+n
	s.n++
	return true
}

// forget drops what is to go to memory that is freed, or come from there.
func (s *scatter) forget(from, to driver.Ptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := func(p driver.Ptr) bool { return p >= from && p < to }
	for i := range s.n {
		if in(s.to[i]) || in(s.from[i]) {
			s.to[i] = 0
		}
	}
}

// flush enqueues what was collected. The caller has the context current.
func (s *scatter) flush(api *driver.API, stream driver.Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return nil
	}
	for i := range s.n {
		binary.NativeEndian.PutUint64(s.block[8*i:], uint64(s.to[i]))
		binary.NativeEndian.PutUint64(s.block[piecesFrom+8*i:], uint64(s.from[i]))
		binary.NativeEndian.PutUint32(s.block[piecesAt+4*i:], uint32(s.end[i]))
	}
	binary.NativeEndian.PutUint32(s.block[piecesCount:], uint32(s.n))
	s.n = 0
	return api.LaunchLocked(s.fn, driver.Dim{X: 1, Y: 1, Z: 1}, driver.Dim{X: scatterThread, Y: 1, Z: 1}, stream, s.block[piecesBytes:])
}
