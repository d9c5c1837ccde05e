//go:build !linux && !darwin

package hub

import (
	"io/fs"
	"time"
)

// accessTime is when a file was last written: who reads it notes that by Hold.
func accessTime(info fs.FileInfo) time.Time { return info.ModTime() }
