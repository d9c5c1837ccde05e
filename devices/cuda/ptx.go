package cuda

import _ "embed"

// ptx is every kernel, compiled by kernels/build.sh; its header tells from what.
//
//go:embed kernels/trit.ptx
var ptx string
