// Package cuda runs programs on NVIDIA GPUs of compute capability 8.0 (Ampere)
// and newer, through the driver that every installation has; no CUDA toolkit is
// needed to build or to run.
//
// # Build tag
//
// The default build links no dynamic loader, so that binaries stay static;
// [Open] and [List] then return an error that says so. With
//
//	CGO_ENABLED=0 go build -tags cuda …
//
// on linux/amd64 and linux/arm64, libcuda.so.1 is opened when a device is
// opened, and its absence is again an ordinary error. The kernel table itself
// does not depend on the tag: [Offline] gives a device that only explains which
// kernels a GPU would run.
//
// # How it works
//
// A [Device] holds the GPU's primary context and modules compiled by the driver
// from embedded PTX, each when a kernel of it is first bound. A queue is a stream. A captured sequence is a
// CUDA graph: one driver call replays a whole step. Small copies between host
// and device go through page-locked memory of the queue, so that they are
// asynchronous and the driver never holds a Go pointer after a call returns.
//
// [Device.Join] joins GPUs of several ranks by NCCL (libnccl.so.2, from the system,
// a Python installation, or as TRIT_NCCL_LIBRARY names it). Its collectives are
// captured like kernels, on a second stream where other kernels do not wait for
// them.
//
// Kernels are written in kernels/NAME.cu, a module each, and compiled by "go
// generate", which needs nvcc and writes kernels/NAME.ptx; a test compares the
// hash in its header with the sources.
//
// Dense products of many rows, which training has, are left to cuBLASLt where the
// machine has libcublasLt.so.13 or .12: the system's, or that of a Python
// installation. When a program first asks for it, it multiplies small matrices on
// the GPU, and every product is recorded once before it is chosen; what fails there
// is done by kernels of this package, and explain and doctor say why. Its calls are
// captured like kernels, with workspace in the program's arena and sums in a fixed
// order. TRIT_CUBLASLT_LIBRARY names another library, or is "off".
//
// # Without a GPU
//
// The environment variable TRIT_CUDA_DRIVER names a library to open in place of
// libcuda.so.1. It is a means of testing: the directory emulator builds one that
// runs the same kernel sources on the CPU, slowly, with checks that a GPU does
// not make and with faults on demand.
//
//	sh devices/cuda/emulator/build.sh /path/to/emulator.so
//	TRIT_CUDA_DRIVER=/path/to/emulator.so go test -count=1 -tags cuda ./devices/cuda/...
package cuda

//go:generate sh kernels/build.sh
