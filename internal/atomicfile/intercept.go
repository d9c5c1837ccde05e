package atomicfile

import "sync/atomic"

// The operations that Intercept tells apart.
const (
	OpCreate = "create"
	OpMkdir  = "mkdir"
	OpWrite  = "write"
	OpSync   = "sync"
	OpLink   = "link"
	OpRename = "rename"
	OpRemove = "remove"
)

var interceptor atomic.Pointer[func(op, path string) error]

// Intercept asks f before each operation of this package on the disk, in the
// whole process; if it returns an error, the operation is not done and fails with
// it. Tests make a disk full with it, or a machine stop, at every operation
// there is. restore ends it.
func Intercept(f func(op, path string) error) (restore func()) {
	interceptor.Store(&f)
	return func() { interceptor.Store(nil) }
}

func intercepted(op, path string) error {
	if f := interceptor.Load(); f != nil {
		return (*f)(op, path)
	}
	return nil
}
