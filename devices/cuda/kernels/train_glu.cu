// The gated unit of BitNet's feed-forward layer with its norm: relu2(gate)·up,
// normalised and quantized in one pass over gate and up, and the whole backward
// pass in one over gate, up and the gradient, which computes the product again
// instead of reading it.
#include "rows.cuh"

// Raw keeps a pack as it lies in memory.
template <typename T, int P>
struct Raw {
    uint4 w;
    __device__ __forceinline__ void load(const T* p) { w = *(const uint4*)p; }
    __device__ __forceinline__ void get(float (&v)[P]) const { load_pack((const T*)&w, *(float(*)[PACK(T)])v); }
};

template <typename T>
struct Raw<T, 1> {
    float w;
    __device__ __forceinline__ void load(const T* p) { w = widen(*p); }
    __device__ __forceinline__ void get(float (&v)[1]) const { v[0] = w; }
};

// rectified is max(x, 0); what is not a number stays so.
__device__ __forceinline__ float rectified(float x) { return x <= 0.0f ? 0.0f : x; }

// gated makes m of relu2(gate)·up and r of relu2(gate), rounded to the element
// type each.
template <int P, typename T>
__device__ __forceinline__ void gated(const float (&gate)[P], const float (&up)[P], float (&m)[P], float (&r)[P], const T* type) {
#pragma unroll
    for (int j = 0; j < P; j++) r[j] = __fmul_rn(rectified(gate[j]), rectified(gate[j]));
    round_pack<P>(r, type);
#pragma unroll
    for (int j = 0; j < P; j++) m[j] = __fmul_rn(r[j], up[j]);
    round_pack<P>(m, type);
}

template <int P, typename T>
__device__ __forceinline__ void glu_fake(const T* gate, const T* up, const float* g, T* y, int rows, int d, int group, double eps, float qmax) {
    Place at = place(rows, d, group);
    Slice<T, P> s;
    if (at.live) {
        EACH_PACK(i, k, P, at) {
            float a[P], b[P], r[P];
            load_n<P>(gate + at.row * d + k, a);
            load_n<P>(up + at.row * d + k, b);
            gated<P>(a, b, s.v[i], r, y);
        }
    }
    norm_row(s, g, inverse_rms(s, at, eps), at);
    fake_row(s, quant_scale(s, at, qmax), qmax, at);
    store_row(y, s, at);
}

// glu_grad: with m = relu2(gate)·up, n = m·r and e = dy the gradient of the norm's
// result: dm = r·(g·e − n·mean(g·e·n)), dup = dm·relu2(gate), dgate = 2·relu(gate)·(dm·up);
// part holds the blocks' sums of e·n, as in rmsnorm_grad.
template <int P, typename T>
__device__ __forceinline__ void glu_grad(const T* gate, const T* up, const float* g, const T* dy, T* dgate, T* dup, float* part, int rows, int d, int group, double eps) {
    DYNAMIC_SHARED(float, shared);
    const T* type = (const T*)0;
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
    for (long long r0 = from; r0 < to; r0 += each) {
        at.row = r0 + threadIdx.x / group;
        at.live = at.row < to;
        long long row = at.row * d;
        Raw<T, P> a[HELD / P], b[HELD / P], e[HELD / P];
        float square = 0.0f;
        if (at.live) {
            EACH_PACK(i, k, P, at) {
                a[i].load(gate + row + k);
                b[i].load(up + row + k);
                e[i].load(dy + row + k);
            }
            EACH_PACK(i, k, P, at) {
                float x[P], y[P], m[P], relu2[P];
                a[i].get(x);
                b[i].get(y);
                gated<P>(x, y, m, relu2, type);
#pragma unroll
                for (int j = 0; j < P; j++) square = fmaf(m[j], m[j], square);
            }
        }
        float r = inverse_root(square, at, eps, type), dot = 0.0f;
        if (at.live) {
            EACH_PACK(i, k, P, at) {
                float x[P], y[P], z[P], w[P], m[P], relu2[P];
                a[i].get(x);
                b[i].get(y);
                e[i].get(z);
                gain_n<P>(g + k, w);
                gated<P>(x, y, m, relu2, type);
#pragma unroll
                for (int j = 0; j < P; j++) {
                    float n = m[j] * r;
                    sum.v[i][j] += z[j] * n;
                    dot = fmaf(z[j] * w[j], n, dot);
                }
            }
        }
        dot = group_sum(dot, group) / (float)d;
        if (!at.live) continue;
        EACH_PACK(i, k, P, at) {
            float x[P], y[P], z[P], w[P], m[P], relu2[P];
            a[i].get(x);
            b[i].get(y);
            e[i].get(z);
            gain_n<P>(g + k, w);
            gated<P>(x, y, m, relu2, type);
#pragma unroll
            for (int j = 0; j < P; j++) z[j] = r * (z[j] * w[j] - m[j] * r * dot);
            round_pack<P>(z, type);
#pragma unroll
            for (int j = 0; j < P; j++) m[j] = __fmul_rn(z[j], y[j]);
            round_pack<P>(m, type);
#pragma unroll
            for (int j = 0; j < P; j++) {
                y[j] = __fmul_rn(z[j], relu2[j]);
                x[j] = __fmul_rn(2.0f * rectified(x[j]), m[j]);
            }
            store_n<P>(dgate + row + k, x);
            store_n<P>(dup + row + k, y);
        }
    }
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

#define KERNELS(name, T, P)                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(512)                                                                                       \
        glu_fake_##name(const T* gate, const T* up, const float* g, T* y, int rows, int d, int group, double eps, float qmax) {             \
        glu_fake<P>(gate, up, g, y, rows, d, group, eps, qmax);                                                                             \
    }                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                                       \
        glu_grad_##name(const T* gate, const T* up, const float* g, const T* dy, T* dgate, T* dup, float* part, int rows, int d, int group, \
                        double eps) {                                                                                                       \
        glu_grad<P>(gate, up, g, dy, dgate, dup, part, rows, d, group, eps);                                                                \
    }

KERNELS(f32, float, 4)
KERNELS(f32_odd, float, 1)
KERNELS(bf16, bf16, 8)
KERNELS(bf16_odd, bf16, 1)
