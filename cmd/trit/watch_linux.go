package main

import (
	"os/exec"
	"syscall"
)

// endWithParent has the system kill the process when this one dies, also by a
// signal that it cannot handle.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
