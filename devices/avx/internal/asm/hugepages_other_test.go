//go:build !linux

package asm

import "testing"

func hugeBytes(_ testing.TB, n int) []byte { return make([]byte, n) }
