// Normalisation and activation quantisation of a row, by one block.
#pragma once
#include "common.cuh"

// inv_rms is 1/sqrt(mean(x^2)+eps) of the block's row. A thread adds few
// squares in single precision; the rest is double, so the result is nearly
// always the correctly rounded one.
__device__ __forceinline__ float inv_rms(const float* x, int d, double eps) {
    float s = 0.0f;
    for (int k = threadIdx.x; k < d; k += blockDim.x) s = fmaf(x[k], x[k], s);
    double sum = block_sum((double)s);
    return (float)(1.0 / sqrt(sum / (double)d + eps));
}

__device__ __forceinline__ float normed(float x, float r, float g) { return __fmul_rn(g, __fmul_rn(x, r)); }

// act_scale is (1/max(absmax, 1e-5))*qmax, rounded twice; qmax is 127 for 8 bits.
__device__ __forceinline__ float act_scale(float absmax, float qmax) { return __fmul_rn(__frcp_rn(fmaxf(absmax, 1e-5f)), qmax); }

// act_code rounds x*s half to even and clamps it to -qmax-1..qmax.
__device__ __forceinline__ i8 act_code(float x, float s, float qmax) {
    int q = __float2int_rn(__fmul_rn(x, s));
    return (i8)min((int)qmax, max(-(int)qmax - 1, q));
}
