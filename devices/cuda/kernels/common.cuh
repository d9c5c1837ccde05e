// What every kernel file uses: reductions of a fixed order, conversions, and
// the instructions that C++ has no name for. Those have two bodies: PTX for the
// GPU, and C++ for the emulator (devices/cuda/emulator), which compiles the same
// sources. PTX is described in NVIDIA's "Parallel Thread Execution ISA".
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;  // also the bits of a bf16 or f16

// WARPS is the most warps a block may have.
#define WARPS 32
#define FULL_WARP 0xffffffffu

// EACH lets any grid cover n elements.
#define EACH(i, n) \
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x)

// DYNAMIC_SHARED declares a pointer to the block's dynamic shared memory.
#ifdef __CUDA_ARCH__
#define DYNAMIC_SHARED(type, name)                         \
    extern __shared__ __align__(128) u8 dynamic_shared[]; \
    type* name = (type*)dynamic_shared
#else
#define DYNAMIC_SHARED(type, name) type* name = (type*)emulated_shared()
#endif

__device__ __forceinline__ double warp_sum(double v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
    return v;
}

__device__ __forceinline__ float warp_sum(float v) {
    for (int o = 16; o > 0; o >>= 1) v = __fadd_rn(v, __shfl_xor_sync(FULL_WARP, v, o));
    return v;
}

__device__ __forceinline__ int warp_sum(int v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
    for (int o = 16; o > 0; o >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, o));
    return v;
}

// block_sum returns the sum of v over the block to every thread. Call it with
// all threads; blocks are whole warps.
template <typename T>
__device__ __forceinline__ T block_sum(T v) {
    __shared__ T part[WARPS];
    v = warp_sum(v);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : (T)0;
    v = warp_sum(v);
    __syncthreads();  // part may be written again
    return v;
}

// block_max is block_sum for the maximum of values that are not negative.
__device__ __forceinline__ float block_max(float v) {
    __shared__ float part[WARPS];
    v = warp_max(v);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : 0.0f;
    v = warp_max(v);
    __syncthreads();
    return v;
}

// bf16 and f16 are kept as their bits. Conversions from f32 round half to even.
__device__ __forceinline__ float bf16_to_f32(u16 h) { return __uint_as_float((unsigned)h << 16); }

__device__ __forceinline__ u16 f32_to_bf16(float f) {
#ifdef __CUDA_ARCH__
    u16 h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
#else
    unsigned u = __float_as_uint(f);
    if (f != f) return 0x7fff;
    return (u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
#endif
}

// bf16x2 packs two values as one word, lo in the lower half.
__device__ __forceinline__ unsigned bf16x2(float lo, float hi) {
#ifdef __CUDA_ARCH__
    unsigned w;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(hi), "f"(lo));
    return w;
#else
    return (unsigned)f32_to_bf16(lo) | (unsigned)f32_to_bf16(hi) << 16;
#endif
}

__device__ __forceinline__ float f16_to_f32(u16 h) {
#ifdef __CUDA_ARCH__
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
#else
    return emulated_f16_to_f32(h);
#endif
}

__device__ __forceinline__ u16 f32_to_f16(float f) {
#ifdef __CUDA_ARCH__
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
#else
    return emulated_f32_to_f16(f);
#endif
}

// exp2_approx is 2^x within 2 units in the last place; results below the normal
// range are zero.
__device__ __forceinline__ float exp2_approx(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
#endif
}

// rcp_approx is 1/x within 1 unit in the last place.
__device__ __forceinline__ float rcp_approx(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.0f / x;
#endif
}

// load_once reads 16 bytes that no other block reads, past the first cache.
__device__ __forceinline__ uint4 load_once(const void* p) {
#ifdef __CUDA_ARCH__
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
#else
    return *(const uint4*)p;
#endif
}

// prefetch_l2 asks for the line at p without waiting.
__device__ __forceinline__ void prefetch_l2(const void* p) {
#ifdef __CUDA_ARCH__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

// cp_async16 copies 16 aligned bytes from device to shared memory without
// waiting; of them only the first n (16, or 0 for none) are read, the others
// become zero. Copies belong to the group of the thread's next cp_async_commit;
// cp_async_wait<N> waits for all but the thread's N latest groups. Other threads
// see the bytes after a barrier that follows the wait.
__device__ __forceinline__ void cp_async16(void* shared, const void* device, int n = 16) {
#ifdef __CUDA_ARCH__
    unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(device), "r"(n) : "memory");
#else
    emulated_copy(shared, device, 16, n);
#endif
}

// cp_async4 is cp_async16 for 4 bytes, through the first cache.
__device__ __forceinline__ void cp_async4(void* shared, const void* device, int n = 4) {
#ifdef __CUDA_ARCH__
    unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(device), "r"(n) : "memory");
#else
    emulated_copy(shared, device, 4, n);
#endif
}

__device__ __forceinline__ void cp_async_commit() {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emulated_commit();
#endif
}

template <int N>
__device__ __forceinline__ void cp_async_wait() {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    emulated_wait(N);
#endif
}

// barrier is __syncthreads for the given number of threads, whole warps, that
// call it with the same id of 1 to 15.
__device__ __forceinline__ void barrier(int id, int threads) {
#ifdef __CUDA_ARCH__
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
    emulated_barrier(id, threads);
#endif
}

// grid_dependency_wait waits until the kernels before this one are done, where
// the launch let it start early; launch_dependents lets the next one start
// early. GPUs before sm_90 never start early.
__device__ __forceinline__ void grid_dependency_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void launch_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// load_acquire and store_release order memory between blocks.
__device__ __forceinline__ int load_acquire(const int* p) {
#ifdef __CUDA_ARCH__
    int v;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

__device__ __forceinline__ void store_release(int* p, int v) {
#ifdef __CUDA_ARCH__
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}
