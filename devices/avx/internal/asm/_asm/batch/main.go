// Command batch generates the products of a few tokens with packed weights, which are
// unpacked in registers: once for several of them.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/trit-ml/trit/devices/avx/internal/asm/_asm/emit"
)

func main() {
	emit.Begin()
	for tokens := 2; tokens <= 8; tokens++ {
		panels(tokens)
	}
	for tokens := 1; tokens <= 4; tokens++ {
		pairs(tokens)
		spread(tokens)
	}
	sets()
	nibbles()
	line()
	list()
	Generate()
}
