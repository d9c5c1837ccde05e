// Rows of d elements in registers. A group of threads, one warp or one block,
// has a row; thread t of the group holds packs t, t+group, … of P elements, HELD
// elements at most. So a row is read once, and in an order that depends on d
// alone.
#pragma once
#include "element.cuh"

#define HELD 32

template <typename T, int P>
struct Slice {
    static const int N = HELD / P;
    float v[N][P];
};

// group_sum and group_max reduce over a group; all threads of the block call
// them together.
__device__ __forceinline__ double group_sum(double v, int group) { return group == 32 ? warp_sum(v) : block_sum(v); }
__device__ __forceinline__ float group_sum(float v, int group) { return group == 32 ? warp_sum(v) : block_sum(v); }
__device__ __forceinline__ float group_max(float v, int group) { return group == 32 ? warp_max(v) : block_max(v); }

// Place is where a thread works: its row, of which there are rows, and its
// place in the group.
struct Place {
    long long row;
    int t, group, d;
    bool live;
};

__device__ __forceinline__ Place place(int rows, int d, int group) {
    Place p;
    p.group = group;
    p.d = d;
    p.t = threadIdx.x % group;
    p.row = (long long)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    p.live = p.row < rows;
    return p;
}

template <int P, typename T>
__device__ __forceinline__ void load_n(const T* p, float (&v)[P]) {
    if (P == 1) {
        v[0] = widen(p[0]);
    } else {
        load_pack(p, *(float(*)[PACK(T)])v);
    }
}

template <int P, typename T>
__device__ __forceinline__ void store_n(T* p, const float (&v)[P]) {
    if (P == 1) {
        put(p, v[0]);
    } else {
        store_pack(p, *(const float(*)[PACK(T)])v);
    }
}

// gain_n reads P consecutive f32 that stand beside a pack of any type.
template <int P>
__device__ __forceinline__ void gain_n(const float* p, float (&v)[P]) {
    if (P == 1) {
        v[0] = p[0];
    } else {
#pragma unroll
        for (int j = 0; j + 3 < P; j += 4) {
            float4 w = *(const float4*)(p + j);
            v[j] = w.x, v[j + 1] = w.y, v[j + 2] = w.z, v[j + 3] = w.w;
        }
    }
}

// EACH_PACK runs over the thread's packs: i counts them, k is the first column.
#define EACH_PACK(i, k, P, at)                                                         \
    _Pragma("unroll") for (int i = 0, k = (at).t * P; i < HELD / P; i++, k += (at).group * P) \
        if (k < (at).d)

template <typename T, int P>
__device__ __forceinline__ void load_row(Slice<T, P>& s, const T* x, const Place& at) {
    if (!at.live) return;
    EACH_PACK(i, k, P, at) load_n<P>(x + at.row * at.d + k, s.v[i]);
}

template <typename T, int P>
__device__ __forceinline__ void store_row(T* y, const Slice<T, P>& s, const Place& at) {
    if (!at.live) return;
    EACH_PACK(i, k, P, at) store_n<P>(y + at.row * at.d + k, s.v[i]);
}

// rounded_to is v as memory of the type would hold it.
__device__ __forceinline__ float rounded_to(float v, const float*) { return v; }
__device__ __forceinline__ float rounded_to(float v, const bf16*) { return bf16_to_f32(f32_to_bf16(v)); }

// inverse_rms is 1/sqrt(mean(x²)+eps) of the group's row. A thread adds few
// squares in single precision, the rest is double.
template <typename T, int P>
__device__ __forceinline__ float inverse_rms(const Slice<T, P>& s, const Place& at, double eps) {
    float sum = 0.0f;
    if (at.live) {
        EACH_PACK(i, k, P, at) {
#pragma unroll
            for (int j = 0; j < P; j++) sum = fmaf(s.v[i][j], s.v[i][j], sum);
        }
    }
    return (float)(1.0 / sqrt(group_sum((double)sum, at.group) / (double)at.d + eps));
}

// norm_row replaces x by g·(x·r), rounded to the element type.
template <typename T, int P>
__device__ __forceinline__ void norm_row(Slice<T, P>& s, const float* g, float r, const Place& at) {
    if (!at.live) return;
    EACH_PACK(i, k, P, at) {
        float w[P];
        gain_n<P>(g + k, w);
#pragma unroll
        for (int j = 0; j < P; j++) s.v[i][j] = rounded_to(__fmul_rn(w[j], __fmul_rn(s.v[i][j], r)), (const T*)0);
    }
}

// quant_scale is the row's scale, (1/max(absmax, 1e-5))·qmax, rounded twice.
template <typename T, int P>
__device__ __forceinline__ float quant_scale(const Slice<T, P>& s, const Place& at, float qmax) {
    float most = 0.0f;
    if (at.live) {
        EACH_PACK(i, k, P, at) {
#pragma unroll
            for (int j = 0; j < P; j++) most = fmaxf(most, fabsf(s.v[i][j]));
        }
    }
    return __fmul_rn(__frcp_rn(fmaxf(group_max(most, at.group), 1e-5f)), qmax);
}

// fake_row replaces x by what its codes stand for; NaN stays NaN.
template <typename T, int P>
__device__ __forceinline__ void fake_row(Slice<T, P>& s, float scale, float qmax, const Place& at) {
    if (!at.live) return;
    EACH_PACK(i, k, P, at) {
#pragma unroll
        for (int j = 0; j < P; j++) {
            float q = rintf(__fmul_rn(s.v[i][j], scale));
            q = q > qmax ? qmax : q;
            q = q < -qmax - 1.0f ? -qmax - 1.0f : q;
            s.v[i][j] = __fdiv_rn(q, scale);
        }
    }
}

// code_row writes the codes, packs of P bytes, and the row's scale.
template <typename T, int P>
__device__ __forceinline__ void code_row(i8* q, float* scales, const Slice<T, P>& s, float scale, float qmax, const Place& at) {
    if (!at.live) return;
    if (at.t == 0) scales[at.row] = scale;
    EACH_PACK(i, k, P, at) {
        unsigned w[(P + 3) / 4];
#pragma unroll
        for (int j = 0; j < P; j++) {
            int c = __float2int_rn(__fmul_rn(s.v[i][j], scale));
            c = min((int)qmax, max(-(int)qmax - 1, c));
            w[j / 4] = j % 4 ? w[j / 4] | (unsigned)(c & 255) << 8 * (j % 4) : (unsigned)(c & 255);
        }
        i8* to = q + at.row * at.d + k;
        if (P == 1) {
            to[0] = (i8)w[0];
        } else {
#pragma unroll
            for (int j = 0; j < P / 4; j++) ((unsigned*)to)[j] = w[j];
        }
    }
}
