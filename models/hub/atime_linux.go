package hub

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was last read. Most systems note it once a day,
// which is enough to see what another program uses.
func accessTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Atim.Unix())
	}
	return info.ModTime()
}
