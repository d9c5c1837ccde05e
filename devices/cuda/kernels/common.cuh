// What every kernel file uses: block-wide reductions with a fixed order.
#pragma once

typedef signed char i8;

// WARPS is the most warps a block may have.
#define WARPS 32

__device__ __forceinline__ double warp_sum(double v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
    for (int o = 16; o > 0; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}

// block_sum returns the sum of v over the block to every thread. Call it with
// all threads; blocks are whole warps.
__device__ __forceinline__ double block_sum(double v) {
    __shared__ double part[WARPS];
    v = warp_sum(v);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : 0.0;
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
