// The optimizer: clipping, AdamW, moving averages, accumulated gradients.
#include "element.cuh"

// Scalars are where numbers lie that the host lists.
struct Scalars {
    const float* at[120];
};

// clip_add adds n numbers to sum, or begins with them.
extern "C" __global__ void clip_add(Scalars list, int n, double* sum, int begin) {
    double s = 0.0;
    for (int i = threadIdx.x; i < n; i += 32) s += (double)list.at[i][0];
    s = warp_sum(s);
    if (threadIdx.x == 0) sum[0] = begin ? s : sum[0] + s;
}

// clip_factor is min(1, most/(norm+1e-6)) of the norm, the root of sum; not
// finite if that is.
extern "C" __global__ void clip_factor(const double* sum, float* factor, float* norm, double most) {
    double n = sqrt(sum[0]);
    factor[0] = most > 0.0 && !(n <= most) ? (float)(most / (n + 1e-6)) : 1.0f;
    norm[0] = (float)n;
}

// AdamW as ops.AdamWStep rounds it.
struct Adam {
    float factor, keep, step, bc2, beta1, rest1, beta2, rest2, eps;
};

__device__ __forceinline__ void adam_update(const Adam& a, float& p, float g, float& m, float& v) {
    g = __fmul_rn(g, a.factor);
    m = __fadd_rn(__fmul_rn(a.beta1, m), __fmul_rn(a.rest1, g));
    v = __fadd_rn(__fmul_rn(a.beta2, v), __fmul_rn(__fmul_rn(a.rest2, g), g));
    float den = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), a.bc2), a.eps);
    p = __fsub_rn(__fmul_rn(a.keep, p), __fmul_rn(a.step, __fdiv_rn(m, den)));
}

// adamw updates n elements of p from element from on, in place.
extern "C" __global__ void adamw(float* p, const float* g, float* m, float* v, const float* hyper, const float* factor, long long from,
                                 long long n, float beta1, float rest1, float beta2, float rest2, float eps, float decay) {
    double lr = (double)hyper[0];
    Adam a;
    a.factor = factor[0];
    a.keep = (float)(1.0 - lr * (double)hyper[1] * (double)decay);
    a.step = (float)(lr / (double)hyper[2]);
    a.bc2 = hyper[3];
    a.beta1 = beta1, a.rest1 = rest1, a.beta2 = beta2, a.rest2 = rest2, a.eps = eps;
    p += from;
    long long whole = from % 4 == 0 ? n / 4 : 0;
    EACH(i, whole) {
        float x[4], y[4], z[4], w[4];
        load_pack(p + 4 * i, x);
        load_pack(g + 4 * i, y);
        load_pack(m + 4 * i, z);
        load_pack(v + 4 * i, w);
#pragma unroll
        for (int j = 0; j < 4; j++) adam_update(a, x[j], y[j], z[j], w[j]);
        store_pack(p + 4 * i, x);
        store_pack(m + 4 * i, z);
        store_pack(v + 4 * i, w);
    }
    for (long long i = whole * 4 + (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x)
        adam_update(a, p[i], g[i], m[i], v[i]);
}

// ema is e += move·(p − e).
extern "C" __global__ void ema(float* e, const float* p, long long n, float move) {
    EACH(i, n) e[i] = __fadd_rn(e[i], __fmul_rn(move, __fsub_rn(p[i], e[i])));
}

// accumulate is acc += x, or acc = x if first is not 0.
extern "C" __global__ void accumulate_f32(float* acc, const float* x, const float* first, long long n) {
    bool begin = first[0] != 0.0f;
    EACH(i, n) acc[i] = begin ? x[i] : __fadd_rn(acc[i], x[i]);
}
