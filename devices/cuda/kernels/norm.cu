// Normalisation and activation quantisation, one block a row of d elements.
#include "norm.cuh"
#include "pdl.cuh"

// y = g * x / sqrt(mean(x^2)+eps)
KERNEL(1024, 1, rmsnorm)(const float* x, const float* g, float* y, int d, double eps) {
    launch_dependents();
    grid_dependency_wait();
    x += (size_t)blockIdx.x * d;
    y += (size_t)blockIdx.x * d;
    float r = inv_rms(x, d, eps);
    for (int k = threadIdx.x; k < d; k += blockDim.x) y[k] = normed(x[k], r, g[k]);
}

// q = round(x*s), s = qmax/absmax
KERNEL(1024, 1, quant_act)(const float* x, i8* q, float* s, int d, float qmax) {
    launch_dependents();
    grid_dependency_wait();
    x += (size_t)blockIdx.x * d;
    q += (size_t)blockIdx.x * d;
    float m = 0.0f;
    for (int k = threadIdx.x; k < d; k += blockDim.x) m = fmaxf(m, fabsf(x[k]));
    float sc = act_scale(block_max(m), qmax);
    for (int k = threadIdx.x; k < d; k += blockDim.x) q[k] = act_code(x[k], sc, qmax);
    if (threadIdx.x == 0) s[blockIdx.x] = sc;
}

// rmsnorm, then quant_act, without the normed row in memory
KERNEL(1024, 1, subln_quant)(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) {
    launch_dependents();
    grid_dependency_wait();
    x += (size_t)blockIdx.x * d;
    q += (size_t)blockIdx.x * d;
    float r = inv_rms(x, d, eps);
    float m = 0.0f;
    for (int k = threadIdx.x; k < d; k += blockDim.x) m = fmaxf(m, fabsf(normed(x[k], r, g[k])));
    float sc = act_scale(block_max(m), qmax);
    for (int k = threadIdx.x; k < d; k += blockDim.x) q[k] = act_code(normed(x[k], r, g[k]), sc, qmax);
    if (threadIdx.x == 0) s[blockIdx.x] = sc;
}
