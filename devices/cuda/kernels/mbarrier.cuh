// Barriers in shared memory that also count bytes, and the copies that they wait for
// (PTX ISA: mbarrier, cp.async.bulk, st.async; sm_90). As in common.cuh, each has a body
// for the emulator.
#pragma once
#include "common.cuh"

// A Mbarrier in shared memory counts arrivals; when all of a phase have come, the
// next phase, of the other parity, begins. The first phase is 0.
typedef unsigned long long Mbarrier;

__device__ __forceinline__ unsigned shared_address(const void* p) {
#ifdef __CUDA_ARCH__
    return (unsigned)__cvta_generic_to_shared(p);
#else
    return (unsigned)(uintptr_t)p;
#endif
}

// mbarrier_init is for one thread, before a __syncthreads.
__device__ __forceinline__ void mbarrier_init(Mbarrier* b, int arrivals) {
#ifdef __CUDA_ARCH__
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
#else
    emulated_mbarrier_init(b, arrivals);
#endif
}

// mbarrier_inits lets other blocks of the cluster, and copies, see barriers that this
// thread has made.
__device__ __forceinline__ void mbarrier_inits() {
#ifdef __CUDA_ARCH__
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ __forceinline__ void mbarrier_arrive(Mbarrier* b) {
#ifdef __CUDA_ARCH__
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
#else
    emulated_mbarrier_arrive(b);
#endif
}

// mbarrier_wait waits until the phase of this parity is over.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* b, unsigned parity) {
#ifdef __CUDA_ARCH__
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@p bra done;\n"
        "bra again;\n"
        "done:\n"
        "}" ::"r"(shared_address(b)), "r"(parity) : "memory");
#else
    emulated_mbarrier_wait(b, parity);
#endif
}

// mbarrier_bulk copies n bytes, a multiple of 16 as are both addresses, from device to
// shared memory without waiting. It is an arrival that happens when they are there.
__device__ __forceinline__ void mbarrier_bulk(Mbarrier* b, void* shared, const void* device, int n) {
#ifdef __CUDA_ARCH__
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(n) : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(shared)), "l"(device),
                 "r"(n), "r"(shared_address(b))
                 : "memory");
#else
    emulated_bulk(b, shared, device, n);
    emulated_mbarrier_arrive(b);
#endif
}

// visible lets what copies without threads, and the tensor cores, see what this thread
// has written to shared memory, or has learned that others have.
__device__ __forceinline__ void visible() {
#ifdef __CUDA_ARCH__
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
