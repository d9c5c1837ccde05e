//go:build !windows && (!unix || solaris || aix)

package filelock

import "os"

// lockOpen does nothing where the system has no file locks of this kind: two
// processes must not fetch the same model at the same time there.
func lockOpen(*os.File, bool) error { return nil }
