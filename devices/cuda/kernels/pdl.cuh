// Kernels of a decode step. A file of them is compiled twice: for every GPU, and
// by NAME_sm90.cu for sm_90, where a kernel may start while the one before it
// ends (programmatic dependent launch, CUDA C++ Programming Guide §4.5): it asks
// for weights at once and waits only before it reads what others wrote.
#pragma once

// KERNEL_OF is for kernels whose blocks must fit beside other kernels': of at most so
// many registers a thread.
#ifdef __CUDACC__
#define REGISTERS(n) __maxnreg__(n)
#else
#define REGISTERS(n)
#endif

#ifdef SM90
#define KERNEL_OF(registers, name) extern "C" __global__ void REGISTERS(registers) name##_sm90
#define KERNEL(threads, blocks, name) extern "C" __global__ void __launch_bounds__(threads, blocks) name##_sm90
#else
#define KERNEL_OF(registers, name) extern "C" __global__ void REGISTERS(registers) name
#define KERNEL(threads, blocks, name) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#endif
