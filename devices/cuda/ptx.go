package cuda

import (
	"io/fs"
	"regexp"
	"strings"
	"sync"
)

// A module is one kernel file, compiled by kernels/build.sh; its header tells
// from what. The driver compiles it further when a function of it is first
// bound.
type module struct {
	name string // of the file, without extension
	text string
}

// modules are those of the embedded PTX, by the name of each kernel. A build
// without the tag cuda has none: it opens no GPU.
var modules = sync.OnceValue(func() map[string]*module {
	byKernel, err := readModules(ptx, "kernels")
	if err != nil {
		return nil
	}
	return byKernel
})

var entryLine = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)

func readModules(files fs.FS, dir string) (map[string]*module, error) {
	names, err := fs.Glob(files, dir+"/*.ptx")
	if err != nil {
		return nil, err
	}
	byKernel := map[string]*module{}
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m := &module{name: strings.TrimSuffix(name[len(dir)+1:], ".ptx"), text: string(b)}
		for _, e := range entryLine.FindAllStringSubmatch(m.text, -1) {
			byKernel[e[1]] = m
		}
	}
	return byKernel, nil
}
