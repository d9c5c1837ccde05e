// Normalisation and quantisation of rows by blocks of ROW_THREADS threads. Every
// kernel that normalises a row for a ternary product adds up its squares in this
// one order, so that a token's codes do not depend on the batch it is in.
#pragma once
#include "norm.cuh"

#define ROW_THREADS 512
#define ROW_STEP (4 * ROW_THREADS)  // elements that the block takes at a time
#define ROW_HELD 4                  // of these steps are kept in registers

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

// quantize_row calls put(e, codes of elements e to e+3) for the block's share of
// the row x of d elements, normalised with weights g if NORM is set, and returns
// the scale to every thread. Codes beyond the row's end are zero.
template <bool NORM, typename Put>
__device__ __forceinline__ float quantize_row(const float* x, const float* g, int d, double eps, float qmax, Put put) {
    float4 v[ROW_HELD];
    int first = 4 * threadIdx.x;
    float s = 0.0f;
#pragma unroll
    for (int i = 0; i < ROW_HELD; i++) {
        v[i] = load4(x, first + i * ROW_STEP, d);
        s = squares(v[i], s);
    }
    for (int e = first + ROW_HELD * ROW_STEP; e < d; e += ROW_STEP) s = squares(load4(x, e, d), s);
    float r = 1.0f, m = 0.0f;
    if (NORM) r = (float)(1.0 / sqrt(block_sum((double)s) / (double)d + eps));
#pragma unroll
    for (int i = 0; i < ROW_HELD; i++) {
        if (NORM) v[i] = normed4(v[i], r, load4(g, first + i * ROW_STEP, d));
        m = largest(v[i], m);
    }
    for (int e = first + ROW_HELD * ROW_STEP; e < d; e += ROW_STEP) {
        float4 w = load4(x, e, d);
        if (NORM) w = normed4(w, r, load4(g, e, d));
        m = largest(w, m);
    }
    float sc = act_scale(block_max(m), qmax);
#pragma unroll
    for (int i = 0; i < ROW_HELD; i++) {
        if (first + i * ROW_STEP < d) put(first + i * ROW_STEP, codes4(v[i], sc, qmax));
    }
    for (int e = first + ROW_HELD * ROW_STEP; e < d; e += ROW_STEP) {
        float4 w = load4(x, e, d);
        if (NORM) w = normed4(w, r, load4(g, e, d));
        put(e, codes4(w, sc, qmax));
    }
    return sc;
}
