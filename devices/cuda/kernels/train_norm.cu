// Norms and activation quantizers of whole batches, forward and backward, for
// f32 and bf16. Kernels named *_odd take rows that are no whole number of packs.
#include "rows.cuh"

template <int P, typename T>
__device__ __forceinline__ void rmsnorm(const T* x, const float* g, T* y, int rows, int d, int group, double eps) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    load_row(s, x, at);
    norm_row(s, g, inverse_rms(s, at, eps), at);
    store_row(y, s, at);
}

template <int P, typename T>
__device__ __forceinline__ void quant_fake(const T* x, T* y, int rows, int d, int group, float qmax) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    load_row(s, x, at);
    fake_row(s, quant_scale(s, at, qmax), qmax, at);
    store_row(y, s, at);
}

template <int P, typename T>
__device__ __forceinline__ void quant_act(const T* x, i8* q, float* scale, int rows, int d, int group, float qmax) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    load_row(s, x, at);
    code_row(q, scale, s, quant_scale(s, at, qmax), qmax, at);
}

// rmsnorm, then quant_fake
template <int P, typename T>
__device__ __forceinline__ void norm_fake(const T* x, const float* g, T* y, int rows, int d, int group, double eps, float qmax) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    load_row(s, x, at);
    norm_row(s, g, inverse_rms(s, at, eps), at);
    fake_row(s, quant_scale(s, at, qmax), qmax, at);
    store_row(y, s, at);
}

// rmsnorm, then quant_act
template <int P, typename T>
__device__ __forceinline__ void norm_act(const T* x, const float* g, i8* q, float* scale, int rows, int d, int group, double eps, float qmax) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    load_row(s, x, at);
    norm_row(s, g, inverse_rms(s, at, eps), at);
    code_row(q, scale, s, quant_scale(s, at, qmax), qmax, at);
}

// rmsnorm_grad walks over the rows of its block and keeps what they add to the
// gain's gradient in registers: part[block][d] of f32, which column_sum adds up.
// With n = x·r: dx = r·(g·dy − n·mean(g·dy·n)), dg = Σ dy·n. If add is not null,
// it is added to dx, which is rounded first as two ops would; so are dy2 and dy3 to
// dy.
template <int P, typename T>
__device__ __forceinline__ void rmsnorm_grad(const T* x, const float* g, const T* dy, const T* dy2, const T* dy3, const T* add, T* dx, float* part, int rows, int d, int group, double eps) {
    DYNAMIC_SHARED(float, shared);
    Place at = place(rows, d, group);
    int each = blockDim.x / group;
    long long share = (rows + gridDim.x - 1) / gridDim.x;
    long long from = blockIdx.x * share, to = min((long long)rows, from + share);
    Slice<float, P> sum;
#pragma unroll
    for (int i = 0; i < HELD / P; i++) {
#pragma unroll
        for (int j = 0; j < P; j++) sum.v[i][j] = 0.0f;
    }
    // All groups of a block go through the loop together, for the barriers.
    for (long long r0 = from; r0 < to; r0 += each) {
        at.row = r0 + threadIdx.x / group;
        at.live = at.row < to;
        Slice<T, P> s, t;
        load_row(s, x, at);
        load_row(t, dy, at);
        if (dy2 && at.live) {
            EACH_PACK(i, k, P, at) {
                float a[P];
                load_n<P>(dy2 + at.row * d + k, a);
#pragma unroll
                for (int j = 0; j < P; j++) t.v[i][j] = __fadd_rn(t.v[i][j], a[j]);
                round_pack<P>(t.v[i], (const T*)0);
                if (!dy3) continue;
                load_n<P>(dy3 + at.row * d + k, a);
#pragma unroll
                for (int j = 0; j < P; j++) t.v[i][j] = __fadd_rn(t.v[i][j], a[j]);
                round_pack<P>(t.v[i], (const T*)0);
            }
        }
        float r = inverse_rms(s, at, eps), dot = 0.0f;
        if (at.live) {
            EACH_PACK(i, k, P, at) {
                float w[P];
                gain_n<P>(g + k, w);
#pragma unroll
                for (int j = 0; j < P; j++) {
                    float n = s.v[i][j] * r, e = t.v[i][j];
                    sum.v[i][j] += e * n;
                    s.v[i][j] = n;
                    t.v[i][j] = e * w[j];
                    dot = fmaf(t.v[i][j], n, dot);
                }
            }
        }
        dot = group_sum(dot, at.group) / (float)d;
        if (!at.live) continue;
        EACH_PACK(i, k, P, at) {
#pragma unroll
            for (int j = 0; j < P; j++) s.v[i][j] = r * (t.v[i][j] - s.v[i][j] * dot);
            if (add) {
                float a[P];
                load_n<P>(add + at.row * d + k, a);
                round_pack<P>(s.v[i], (const T*)0);
#pragma unroll
                for (int j = 0; j < P; j++) s.v[i][j] = __fadd_rn(s.v[i][j], a[j]);
            }
            store_n<P>(dx + at.row * d + k, s.v[i]);
        }
    }
    // The groups' sums, in their order.
    float* mine = shared + (threadIdx.x / group) * d;
    EACH_PACK(i, k, P, at) {
#pragma unroll
        for (int j = 0; j < P; j++) mine[k + j] = sum.v[i][j];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < d; k += blockDim.x) {
        float v = shared[k];
        for (int i = 1; i < each; i++) v += shared[i * d + k];
        part[(long long)blockIdx.x * d + k] = v;
    }
}

// column_sum is y[k] = Σ part[i][k]: a block has 32 columns, its warps share the
// rows.
extern "C" __global__ void column_sum(const float* part, float* y, int rows, int d) {
    int k = blockIdx.x * 32 + threadIdx.x % 32, w = threadIdx.x / 32, warps = blockDim.x / 32;
    DYNAMIC_SHARED(double, sums);
    double s = 0.0;
    if (k < d) {
        for (int i = w; i < rows; i += warps) s += (double)part[(long long)i * d + k];
    }
    sums[threadIdx.x] = s;
    __syncthreads();
    if (w == 0 && k < d) {
        for (int i = 1; i < warps; i++) s += sums[i * 32 + threadIdx.x];
        y[k] = (float)s;
    }
}

// KERNELS makes each kernel for one element type and pack size.
#define KERNELS(name, T, P)                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(512)                                                                                      \
        norm_rows_##name(const T* x, const float* g, T* y, int rows, int d, int group, double eps) {                                        \
        rmsnorm<P>(x, g, y, rows, d, group, eps);                                                                                           \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(512) quant_fake_##name(const T* x, T* y, int rows, int d, int group, float qmax) {        \
        quant_fake<P>(x, y, rows, d, group, qmax);                                                                                          \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(512)                                                                                      \
        quant_rows_##name(const T* x, i8* q, float* scale, int rows, int d, int group, float qmax) {                                        \
        quant_act<P>(x, q, scale, rows, d, group, qmax);                                                                                    \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(512)                                                                                      \
        norm_fake_##name(const T* x, const float* g, T* y, int rows, int d, int group, double eps, float qmax) {                            \
        norm_fake<P>(x, g, y, rows, d, group, eps, qmax);                                                                                   \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(512)                                                                                      \
        norm_quant_rows_##name(const T* x, const float* g, i8* q, float* scale, int rows, int d, int group, double eps, float qmax) {       \
        norm_act<P>(x, g, q, scale, rows, d, group, eps, qmax);                                                                             \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                                       \
        rmsnorm_grad_##name(const T* x, const float* g, const T* dy, T* dx, float* part, int rows, int d, int group, double eps) {          \
        rmsnorm_grad<P, T>(x, g, dy, (const T*)0, (const T*)0, (const T*)0, dx, part, rows, d, group, eps);                                                           \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_grad_add_##name(const T* x, const float* g, const T* dy, const T* add, T* dx, \
                                                                               float* part, int rows, int d, int group, double eps) {       \
        rmsnorm_grad<P, T>(x, g, dy, (const T*)0, (const T*)0, add, dx, part, rows, d, group, eps);                                                                   \
    } \
    extern "C" __global__ void __launch_bounds__(256)                                                                                       \
        rmsnorm_grad_sum2_##name(const T* x, const float* g, const T* a, const T* b, const T* add, T* dx, float* part, int rows, int d,     \
                                 int group, double eps) {                                                                                   \
        rmsnorm_grad<P, T>(x, g, a, b, (const T*)0, add, dx, part, rows, d, group, eps);                                                    \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                                       \
        rmsnorm_grad_sum3_##name(const T* x, const float* g, const T* a, const T* b, const T* c, const T* add, T* dx, float* part,          \
                                 int rows, int d, int group, double eps) {                                                                  \
        rmsnorm_grad<P, T>(x, g, a, b, c, add, dx, part, rows, d, group, eps);                                                              \
    }

KERNELS(f32, float, 4)
KERNELS(f32_odd, float, 1)
KERNELS(bf16, bf16, 8)
KERNELS(bf16_odd, bf16, 1)
