// The gated unit of BitNet's feed-forward layer with its norm: relu2(gate)·up,
// normalised and quantized in one pass over gate and up, and the whole backward
// pass in one over gate, up and the gradient, which computes the product again
// instead of reading it.
#include "rows.cuh"

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
template <int P, int N, typename T>
__device__ __forceinline__ void glu_grad(const T* gate, const T* up, const float* g, const T* dy, T* dgate, T* dup, float* part, int rows, int d, int group, double eps) {
    DYNAMIC_SHARED(float, shared);
    const T* type = (const T*)0;
    Place at = place(rows, d, group);
    int each = blockDim.x / group;
    long long share = (rows + gridDim.x - 1) / gridDim.x;
    long long from = blockIdx.x * share, to = min((long long)rows, from + share);
    float sum[N][P];
#pragma unroll
    for (int i = 0; i < N; i++) {
#pragma unroll
        for (int j = 0; j < P; j++) sum[i][j] = 0.0f;
    }
    for (long long r0 = from; r0 < to; r0 += each) {
        at.row = r0 + threadIdx.x / group;
        at.live = at.row < to;
        long long row = at.row * d;
        Raw<T, P> a[N], b[N], e[N];
        float square = 0.0f;
        if (at.live) {
            EACH_OF(i, k, P, N, at) {
                a[i].load(gate + row + k);
                b[i].load(up + row + k);
                e[i].load(dy + row + k);
            }
            EACH_OF(i, k, P, N, at) {
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
            EACH_OF(i, k, P, N, at) {
                float x[P], y[P], z[P], w[P], m[P], relu2[P];
                a[i].get(x);
                b[i].get(y);
                e[i].get(z);
                gain_n<P>(g + k, w);
                gated<P>(x, y, m, relu2, type);
#pragma unroll
                for (int j = 0; j < P; j++) {
                    float n = m[j] * r;
                    sum[i][j] += z[j] * n;
                    dot = fmaf(z[j] * w[j], n, dot);
                }
            }
        }
        dot = group_sum(dot, group) / (float)d;
        if (!at.live) continue;
        EACH_OF(i, k, P, N, at) {
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
    EACH_OF(i, k, P, N, at) {
#pragma unroll
        for (int j = 0; j < P; j++) mine[k + j] = sum[i][j];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < d; k += blockDim.x) {
        float v = shared[k];
        for (int i = 1; i < each; i++) v += shared[i * d + k];
        part[(long long)blockIdx.x * d + k] = v;
    }
}

#define FAKE(name, T, P)                                                                                                        \
    extern "C" __global__ void __launch_bounds__(512)                                                                           \
        glu_fake_##name(const T* gate, const T* up, const float* g, T* y, int rows, int d, int group, double eps, float qmax) { \
        glu_fake<P>(gate, up, g, y, rows, d, group, eps, qmax);                                                                 \
    }

// GRAD makes a kernel for rows of which a thread has N packs at most.
#define GRAD(name, T, P, N, BLOCKS)                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                                               \
        glu_grad_##name(const T* gate, const T* up, const float* g, const T* dy, T* dgate, T* dup, float* part, int rows, int d, int group, \
                        double eps) {                                                                                                       \
        glu_grad<P, N>(gate, up, g, dy, dgate, dup, part, rows, d, group, eps);                                                             \
    }

FAKE(f32, float, 4)
FAKE(f32_odd, float, 1)
FAKE(bf16, bf16, 8)
FAKE(bf16_odd, bf16, 1)
GRAD(f32, float, 4, 8, 1)
GRAD(f32_odd, float, 1, 32, 1)
GRAD(bf16, bf16, 8, 4, 2)
GRAD(bf16_3, bf16, 8, 3, 2)
GRAD(bf16_2, bf16, 8, 2, 2)
GRAD(bf16_odd, bf16, 1, 32, 1)
