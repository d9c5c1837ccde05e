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
	piecesAt      = 8 * mostPieces // of the ends
	piecesCount   = piecesAt + 4*mostPieces
	piecesData    = piecesCount + 8
	piecesBytes   = piecesData + pieceData
	scatterBytes  = piecesBytes + 8 // and the pointer to them
	scatterThread = 256
)

// scatter collects small writes of a queue, such as the inputs of a step, for one
// kernel that brings them all: each by itself is a copy that takes longer to start than
// the kernel.
type scatter struct {
	fn    driver.Function
	block []byte // page-locked: the kernel's parameter, and the pointer to it

	mu  sync.Mutex // memory may be freed by anybody
	to  [mostPieces]driver.Ptr
	end [mostPieces]int
	n   int
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
func (s *scatter) add(to driver.Ptr, src []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := 0
	if s.n > 0 {
		at = s.end[s.n-1]
	}
	n := len(src)
	if s.n == mostPieces || n > pieceData-at || n%4 != 0 || to%4 != 0 {
		return false
	}
	for i, from := 0, 0; i < s.n; i++ {
		if size := driver.Ptr(s.end[i] - from); to < s.to[i]+size && s.to[i] < to+driver.Ptr(n) {
			return false
		}
		from = s.end[i]
	}
	copy(s.block[piecesData+at:], src)
	s.to[s.n], s.end[s.n] = to, at+n
	s.n++
	return true
}

// forget drops writes to memory that is freed.
func (s *scatter) forget(from, to driver.Ptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.n {
		if s.to[i] >= from && s.to[i] < to {
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
		binary.NativeEndian.PutUint32(s.block[piecesAt+4*i:], uint32(s.end[i]))
	}
	binary.NativeEndian.PutUint32(s.block[piecesCount:], uint32(s.n))
	s.n = 0
	return api.LaunchLocked(s.fn, driver.Dim{X: 1, Y: 1, Z: 1}, driver.Dim{X: scatterThread, Y: 1, Z: 1}, stream, s.block[piecesBytes:])
}
