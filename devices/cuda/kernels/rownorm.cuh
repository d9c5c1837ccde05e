// Normalisation and quantisation of rows by blocks of ROW_THREADS threads. Every
// kernel that normalises a row for a ternary product adds up its squares in this
// one order, so that a token's codes do not depend on the batch it is in.
#pragma once
#include "norm.cuh"

#define ROW_THREADS 512
#define ROW_STEP (4 * ROW_THREADS)  // elements that the block takes at a time

// load4 is elements e to e+3 of a row of d, zero beyond its end.
__device__ __forceinline__ float4 load4(const float* x, int e, int d) {
    if ((d & 3) == 0) return e < d ? *(const float4*)(x + e) : make_float4(0, 0, 0, 0);
    return make_float4(e < d ? x[e] : 0.0f, e + 1 < d ? x[e + 1] : 0.0f, e + 2 < d ? x[e + 2] : 0.0f, e + 3 < d ? x[e + 3] : 0.0f);
}

__device__ __forceinline__ float squares(float4 v, float s) { return fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, s)))); }

__device__ __forceinline__ float largest(float4 v, float m) {
    return fmaxf(fmaxf(fmaxf(m, fabsf(v.x)), fmaxf(fabsf(v.y), fabsf(v.z))), fabsf(v.w));
}

__device__ __forceinline__ float4 normed4(float4 x, float r, float4 g) {
    return make_float4(normed(x.x, r, g.x), normed(x.y, r, g.y), normed(x.z, r, g.z), normed(x.w, r, g.w));
}

// codes4 is four codes in a word, the first in the low byte.
__device__ __forceinline__ int codes4(float4 v, float s, float qmax) {
    unsigned a = (u8)act_code(v.x, s, qmax), b = (u8)act_code(v.y, s, qmax);
    unsigned c = (u8)act_code(v.z, s, qmax), d = (u8)act_code(v.w, s, qmax);
    return (int)(a | b << 8 | c << 16 | d << 24);
}

// Row is the block's share of a row of d elements and of its norm's weights, in
// registers as far as HELD steps go.
template <int HELD>
struct Row {
    const float *x, *g;
    int d;
    float4 v[HELD], w[HELD];

    __device__ __forceinline__ Row(const float* x, const float* g, int d) : x(x), g(g), d(d) {
        int first = 4 * threadIdx.x;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            v[i] = load4(x, first + i * ROW_STEP, d);
            w[i] = load4(g, first + i * ROW_STEP, d);
        }
    }

    // each calls f(e, x, g) for the thread's elements e to e+3.
    template <typename F>
    __device__ __forceinline__ void each(F f) const {
        int first = 4 * threadIdx.x;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (first + i * ROW_STEP < d) f(first + i * ROW_STEP, v[i], w[i]);
        }
        for (int e = first + HELD * ROW_STEP; e < d; e += ROW_STEP) f(e, load4(x, e, d), load4(g, e, d));
    }
};

// Sums is what warps of a block leave of a row: the sum of squares, and the
// largest product of an element and its weight.
struct Sums {
    float square[ROW_THREADS / 32], most[ROW_THREADS / 32];
};

// inverse is 1/sqrt(x), nearly always correctly rounded.
__device__ __forceinline__ float inverse_root(double x) {
    double y = rsqrtf((float)x);
    return (float)(y * (1.5 - 0.5 * x * y * y));
}

// quantize_row calls put(e, codes of elements e to e+3) for the thread's share of
// a row, normalised, and returns the scale to every thread. Codes beyond the row's
// end are zero. All threads must call it; sums must not be in use.
template <int HELD, typename Put>
__device__ __forceinline__ float quantize_row(const Row<HELD>& row, Sums* sums, double per, double eps, float qmax, Put put) {
    float square = 0.0f, most = 0.0f;
    row.each([&](int, float4 x, float4 g) {
        square = squares(x, square);
        most = largest(make_float4(__fmul_rn(x.x, g.x), __fmul_rn(x.y, g.y), __fmul_rn(x.z, g.z), __fmul_rn(x.w, g.w)), most);
    });
    for (int o = 16; o > 0; o >>= 1) {
        square = __fadd_rn(square, __shfl_xor_sync(FULL_WARP, square, o));
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, o));
    }
    if ((threadIdx.x & 31) == 0) sums->square[threadIdx.x >> 5] = square, sums->most[threadIdx.x >> 5] = most;
    __syncthreads();
    square = sums->square[threadIdx.x & 15], most = sums->most[threadIdx.x & 15];
    for (int o = 8; o > 0; o >>= 1) {
        square = __fadd_rn(square, __shfl_xor_sync(FULL_WARP, square, o));
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, o));
    }
    float r = inverse_root((double)square * per + eps);
    float sc = act_scale(__fmul_rn(most, r), qmax);
    row.each([&](int e, float4 x, float4 g) { put(e, codes4(normed4(x, r, g), sc, qmax)); });
    return sc;
}
