//go:build !unix

package atomicfile

// syncDir does nothing: Windows cannot flush a folder.
func syncDir(string) error { return nil }
