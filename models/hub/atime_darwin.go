package hub

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was last read.
func accessTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Atimespec.Unix())
	}
	return info.ModTime()
}
