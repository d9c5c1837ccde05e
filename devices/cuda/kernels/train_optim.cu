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

// Squares lists tensors of f32, or of bf16 where narrow is set, whose squares are
// added; tensor i begins at block first[i].
struct Squares {
    const void* at[100];
    long long n[100];
    int first[100];
    int narrow[100];
};

// CHUNK is how many elements a block adds.
#define CHUNK 16384

// owner is the tensor of a block: the last one that does not begin behind it.
__device__ __forceinline__ int owner(const int* first, int n, int block) {
    int lo = 0, hi = n - 1;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (first[mid] <= block) lo = mid; else hi = mid - 1;
    }
    return lo;
}

template <typename T>
__device__ __forceinline__ double squares(const T* x, long long n) {
    const int P = PACK(T);
    double s = 0.0;
    for (long long i = threadIdx.x; i < n / P; i += blockDim.x) {
        float v[P], f = 0.0f;
        load_pack(x + i * P, v);
#pragma unroll
        for (int j = 0; j < P; j++) f = fmaf(v[j], v[j], f);
        s += (double)f;
    }
    long long i = n / P * P + threadIdx.x;
    if (i < n) s += (double)widen(x[i]) * (double)widen(x[i]);
    return s;
}

extern "C" __global__ void __launch_bounds__(256) clip_squares(Squares list, int tensors, double* part) {
    int t = owner(list.first, tensors, blockIdx.x);
    long long from = (long long)(blockIdx.x - list.first[t]) * CHUNK, n = list.n[t] - from;
    if (n > CHUNK) n = CHUNK;
    double s = list.narrow[t] ? squares((const bf16*)list.at[t] + from, n) : squares((const float*)list.at[t] + from, n);
    s = block_sum(s);
    if (threadIdx.x == 0) part[blockIdx.x] = s;
}

// clip_parts adds up n parts, then is clip_factor.
extern "C" __global__ void clip_parts(const double* part, int n, float* factor, float* norm, double most) {
    double s = 0.0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) s += part[i];
    s = block_sum(s);
    if (threadIdx.x > 0) return;
    double root = sqrt(s);
    factor[0] = most > 0.0 && !(root <= most) ? (float)(most / (root + 1e-6)) : 1.0f;
    norm[0] = (float)root;
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

// Updates lists params, with gradients of f32, or of bf16 where narrow is set.
struct Updates {
    float* p[60];
    const void* g[60];
    float *m[60], *v[60];
    long long n[60];
    int first[60];
    int narrow[60];
    float decay[60];
};

template <typename T>
__device__ __forceinline__ void adam_range(const Adam& a, float* p, const T* g, float* m, float* v, long long n) {
    const int P = PACK(T);
    long long whole = ((unsigned long long)p & 15) == 0 ? n / P : 0;
    for (long long i = threadIdx.x; i < whole; i += blockDim.x) {
        float y[P];
        load_pack(g + P * i, y);
#pragma unroll
        for (int k = 0; k < P; k += 4) {
            float x[4], z[4], w[4];
            load_pack(p + P * i + k, x);
            load_pack(m + P * i + k, z);
            load_pack(v + P * i + k, w);
#pragma unroll
            for (int j = 0; j < 4; j++) adam_update(a, x[j], y[k + j], z[j], w[j]);
            store_pack(p + P * i + k, x);
            store_pack(m + P * i + k, z);
            store_pack(v + P * i + k, w);
        }
    }
    for (long long i = whole * P + threadIdx.x; i < n; i += blockDim.x) adam_update(a, p[i], widen(g[i]), m[i], v[i]);
}

// UPDATES is how many elements a block updates.
#define UPDATES 4096

// adamw updates params in place.
extern "C" __global__ void __launch_bounds__(256) adamw(Updates list, int tensors, const float* hyper, const float* factor, float beta1,
                                                        float rest1, float beta2, float rest2, float eps) {
    int t = owner(list.first, tensors, blockIdx.x);
    long long from = (long long)(blockIdx.x - list.first[t]) * UPDATES, n = list.n[t] - from;
    if (n > UPDATES) n = UPDATES;
    double lr = (double)hyper[0];
    Adam a;
    a.factor = factor[0];
    a.keep = (float)(1.0 - lr * (double)hyper[1] * (double)list.decay[t]);
    a.step = (float)(lr / (double)hyper[2]);
    a.bc2 = hyper[3];
    a.beta1 = beta1, a.rest1 = rest1, a.beta2 = beta2, a.rest2 = rest2, a.eps = eps;
    float *p = list.p[t] + from, *m = list.m[t] + from, *v = list.v[t] + from;
    if (list.narrow[t]) {
        adam_range(a, p, (const bf16*)list.g[t] + from, m, v, n);
    } else {
        adam_range(a, p, (const float*)list.g[t] + from, m, v, n);
    }
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
