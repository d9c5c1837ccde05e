//go:build cuda && linux && (amd64 || arm64)

package cuda

import "embed"

//go:embed kernels/*.ptx
var ptx embed.FS
