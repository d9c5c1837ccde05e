// Hopper's asynchronous pieces: barriers in shared memory, and warpgroup products
// of int8 (PTX ISA: mbarrier, and asynchronous warpgroup level matrix multiply).
// As in common.cuh, each has a body for the emulator.
#pragma once
#include "mbarrier.cuh"
#include "mma.cuh"

// cp_async_arrive is an arrival that happens when all copies that this thread has
// started are done.
__device__ __forceinline__ void cp_async_arrive(Mbarrier* b) {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(b)) : "memory");
#else
    emulated_commit();
    emulated_wait(0);
    emulated_mbarrier_arrive(b);
#endif
}

// align1024 moves to the next multiple of 1024, which the swizzle counts from.
__device__ __forceinline__ u8* align1024(u8* p) { return p + (-shared_address(p) & 1023); }

// descriptor tells the tensor cores of a panel in shared memory: rows of 128 bytes,
// eight of them a group of 1024, whose 16-byte chunks are permuted by the 128-byte
// swizzle: chunk c of row r lies at c ^ r%8. 2h more is 32 bytes of each row, from
// 32h on.
__device__ __forceinline__ unsigned long long descriptor(const u8* panel) {
#ifdef __CUDA_ARCH__
    return (unsigned long long)(shared_address(panel) >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
#else
    return (uintptr_t)panel >> 4;
#endif
}

// wgmma adds 64 rows of 32 int8 of panel a times N rows of panel b to d, some time
// later. Register 4j+2h+e of a thread is row t/32*16 + t%32/4 + 8h and column
// 8j + t%4*2 + e, for thread t of the warpgroup.
template <int N>
__device__ __forceinline__ void wgmma(int (&d)[N / 2], unsigned long long a, unsigned long long b);

#ifdef __CUDA_ARCH__
#define OUT8(i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), "+r"(d[i + 7])
#define OUT16(i) OUT8(i), OUT8(i + 8)

template <>
__device__ __forceinline__ void wgmma<128>(int (&d)[64], unsigned long long a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, 1;"
        : OUT16(0), OUT16(16), OUT16(32), OUT16(48)
        : "l"(a), "l"(b));
}

template <>
__device__ __forceinline__ void wgmma<160>(int (&d)[80], unsigned long long a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n160k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79}, "
        "%80, %81, 1;"
        : OUT16(0), OUT16(16), OUT16(32), OUT16(48), OUT16(64)
        : "l"(a), "l"(b));
}

template <>
__device__ __forceinline__ void wgmma<256>(int (&d)[128], unsigned long long a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
            "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
            "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, 1;"
        : OUT16(0), OUT16(16), OUT16(32), OUT16(48), OUT16(64), OUT16(80), OUT16(96), OUT16(112)
        : "l"(a), "l"(b));
}
#else
template <int N>
__device__ __forceinline__ void wgmma(int (&d)[N / 2], unsigned long long a, unsigned long long b) {
    emulated_wgmma(d, a, b);
}
#endif

// wgmma_fence comes before the first product with registers that were written;
// wgmma_commit closes a group of products; wgmma_wait<N> waits for all but the N
// latest groups.
__device__ __forceinline__ void wgmma_fence() {
#ifdef __CUDA_ARCH__
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void wgmma_commit() {
#ifdef __CUDA_ARCH__
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
    emulated_wgmma_commit();
#endif
}

template <int N>
__device__ __forceinline__ void wgmma_wait() {
#ifdef __CUDA_ARCH__
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#else
    emulated_wgmma_wait(N);
#endif
}
