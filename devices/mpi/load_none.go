//go:build !(mpi && (linux || darwin) && (amd64 || arm64))

package mpi

import "errors"

// Built reports whether this program can join processes.
const Built = false

func load(*library) error {
	return errors.New("this program was built without MPI: build it for linux or darwin with -tags mpi, or run it without mpirun")
}

// invoke is not reached: load never succeeds.
func invoke(uintptr, ...uintptr) int32 { return -1 }
