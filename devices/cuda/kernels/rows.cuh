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

// round_pack rounds a pack; two bf16 are made by one instruction.
template <int P>
__device__ __forceinline__ void round_pack(float (&)[P], const float*) {}

template <int P>
__device__ __forceinline__ void round_pack(float (&v)[P], const bf16* type) {
    if (P == 1) {
        v[0] = rounded_to(v[0], type);
    } else {
#pragma unroll
        for (int j = 0; j + 1 < P; j += 2) {
            unsigned w = bf16x2(v[j], v[j + 1]);
            v[j] = __uint_as_float(w << 16);
            v[j + 1] = __uint_as_float(w & 0xffff0000u);
        }
    }
}

// inverse_root is 1/sqrt(sum/d+eps) of the sum over a group. Rows of f32 get the
// correctly rounded result nearly always; for bf16 single precision does, and
// costs a tenth of the instructions.
__device__ __forceinline__ float inverse_root(float sum, const Place& at, double eps, const float*) {
    return (float)(1.0 / sqrt(group_sum((double)sum, at.group) / (double)at.d + eps));
}

__device__ __forceinline__ float inverse_root(float sum, const Place& at, double eps, const bf16*) {
    return __frcp_rn(__fsqrt_rn(__fdividef(group_sum(sum, at.group), (float)at.d) + (float)eps));
}

// inverse_rms is that of the group's row. A thread adds few squares.
template <typename T, int P>
__device__ __forceinline__ float inverse_rms(const Slice<T, P>& s, const Place& at, double eps) {
    float sum = 0.0f;
    if (at.live) {
        EACH_PACK(i, k, P, at) {
#pragma unroll
            for (int j = 0; j < P; j++) sum = fmaf(s.v[i][j], s.v[i][j], sum);
        }
    }
    return inverse_root(sum, at, eps, (const T*)0);
}

// norm_row replaces x by g·(x·r), rounded to the element type.
template <typename T, int P>
__device__ __forceinline__ void norm_row(Slice<T, P>& s, const float* g, float r, const Place& at) {
    if (!at.live) return;
    EACH_PACK(i, k, P, at) {
        float w[P];
        gain_n<P>(g + k, w);
#pragma unroll
        for (int j = 0; j < P; j++) s.v[i][j] = __fmul_rn(w[j], __fmul_rn(s.v[i][j], r));
        round_pack<P>(s.v[i], (const T*)0);
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

// whole rounds half to even where |v| < 2^22, by two additions at full speed.
__device__ __forceinline__ float whole(float v) { return __fsub_rn(__fadd_rn(v, 12582912.0f), 12582912.0f); }

// fake_row replaces x by what its codes stand for; NaN stays NaN. No product with
// the row's own scale rounds beyond qmax, so nothing is clamped. A quotient is
// the product with the reciprocal, corrected once: correctly rounded, as the
// reciprocal is (Markstein 1990, "Computation of elementary functions on the IBM
// RISC System/6000 processor").
template <typename T, int P>
__device__ __forceinline__ void fake_row(Slice<T, P>& s, float scale, float qmax, const Place& at) {
    if (!at.live) return;
    float inverse = __frcp_rn(scale);
    EACH_PACK(i, k, P, at) {
#pragma unroll
        for (int j = 0; j < P; j++) {
            float q = whole(__fmul_rn(s.v[i][j], scale));
            float y = __fmul_rn(q, inverse);
            s.v[i][j] = fmaf(fmaf(-y, scale, q), inverse, y);
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
