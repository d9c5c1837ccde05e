// Normalisation and activation quantisation, one block a row of d elements.
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

// y = g * x / sqrt(mean(x^2)+eps)
extern "C" __global__ void rmsnorm(const float* x, const float* g, float* y, int d, double eps) {
    x += (size_t)blockIdx.x * d;
    y += (size_t)blockIdx.x * d;
    float r = inv_rms(x, d, eps);
    for (int k = threadIdx.x; k < d; k += blockDim.x) y[k] = normed(x[k], r, g[k]);
}

// q = round(x*s), s = qmax/absmax
extern "C" __global__ void quant_act(const float* x, i8* q, float* s, int d, float qmax) {
    x += (size_t)blockIdx.x * d;
    q += (size_t)blockIdx.x * d;
    float m = 0.0f;
    for (int k = threadIdx.x; k < d; k += blockDim.x) m = fmaxf(m, fabsf(x[k]));
    float sc = act_scale(block_max(m), qmax);
    for (int k = threadIdx.x; k < d; k += blockDim.x) q[k] = act_code(x[k], sc, qmax);
    if (threadIdx.x == 0) s[blockIdx.x] = sc;
}

// rmsnorm, then quant_act, without the normed row in memory
extern "C" __global__ void subln_quant(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) {
    x += (size_t)blockIdx.x * d;
    q += (size_t)blockIdx.x * d;
    float r = inv_rms(x, d, eps);
    float m = 0.0f;
    for (int k = threadIdx.x; k < d; k += blockDim.x) m = fmaxf(m, fabsf(normed(x[k], r, g[k])));
    float sc = act_scale(block_max(m), qmax);
    for (int k = threadIdx.x; k < d; k += blockDim.x) q[k] = act_code(normed(x[k], r, g[k]), sc, qmax);
    if (threadIdx.x == 0) s[blockIdx.x] = sc;
}
