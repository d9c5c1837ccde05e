// Choosing the largest of many numbers: as integers of the same order.
#pragma once
#include "common.cuh"

#define INFINITE __uint_as_float(0x7f800000u)

typedef unsigned long long u64;

// ordered maps floats to integers of the same order; numbers are above 0.
__device__ __forceinline__ unsigned ordered(float v) {
    unsigned u = __float_as_uint(__fadd_rn(v, 0.0f));  // one zero
    return u ^ ((u >> 31) ? 0xffffffffu : 0x80000000u);
}

__device__ __forceinline__ float unordered(unsigned u) { return __uint_as_float(u ^ ((u >> 31) ? 0x80000000u : 0xffffffffu)); }

// key orders tokens: likelier ones are larger, the lowest id among equals. What
// cannot be drawn is 0.
__device__ __forceinline__ u64 key(float v, int id) {
    if (!(v > -INFINITE)) return 0;
    return (u64)ordered(v) << 32 | (unsigned)~id;
}

__device__ __forceinline__ u64 block_max(u64 v) {
    __shared__ u64 part[WARPS];
    for (int o = 16; o > 0; o >>= 1) v = max(v, __shfl_xor_sync(FULL_WARP, v, o));
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : 0;
    for (int o = 16; o > 0; o >>= 1) v = max(v, __shfl_xor_sync(FULL_WARP, v, o));
    __syncthreads();
    return v;
}
