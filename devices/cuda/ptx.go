package cuda

import (
	"embed"
	"regexp"
	"strings"
	"sync"
)

// ptx is every kernel file, compiled by kernels/build.sh; headers tell from
// what.
//
//go:embed kernels/*.ptx
var ptx embed.FS

// A module is one kernel file; the driver compiles it when a function of it is
// first bound.
type module struct {
	name string // of the file, without extension
	text string
}

// modules finds the module of every kernel.
var modules = sync.OnceValue(func() map[string]*module {
	files, err := ptx.ReadDir("kernels")
	if err != nil {
		return nil // not possible: the directory is embedded
	}
	entry := regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)
	byKernel := map[string]*module{}
	for _, f := range files {
		b, err := ptx.ReadFile("kernels/" + f.Name())
		if err != nil {
			return nil
		}
		m := &module{name: strings.TrimSuffix(f.Name(), ".ptx"), text: string(b)}
		for _, e := range entry.FindAllStringSubmatch(m.text, -1) {
			byKernel[e[1]] = m
		}
	}
	return byKernel
})
