//go:build !amd64 || purego

package asm

// native says that this build has assembly.
const native = false

const noAssembly = "asm: this build has no assembly; only the Generic ISA is available"
