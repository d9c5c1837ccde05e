//go:build !(cuda && linux && (amd64 || arm64))

package cuda

import "embed"

var ptx embed.FS
