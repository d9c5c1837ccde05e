//go:build amd64 && !purego

package asm

// native says that this build has assembly.
const native = true
