// The output head: logits are sums in single precision, in one order for every
// kernel: lane l of a warp adds up columns 8l to 8l+7 of each 256, one after the
// other, and the lanes are added pairwise.
#pragma once
#include "element.cuh"
#include "pdl.cuh"

// weights8 is columns e to e+7 of a row of k, zero beyond its end.
template <typename T>
__device__ __forceinline__ void weights8(float (&v)[8], const T* w, int e, int k, bool aligned) {
    if (aligned && e + 8 <= k) {
        uint4 raw[sizeof(T) / 2];
#pragma unroll
        for (int i = 0; i < (int)sizeof(T) / 2; i++) raw[i] = load_once((const uint4*)(w + e) + i);
        const unsigned* words = (const unsigned*)raw;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (sizeof(T) == 4) {
                v[i] = __uint_as_float(words[i]);
            } else {
                T h;
                ((u16*)&h)[0] = (u16)(words[i / 2] >> 16 * (i & 1));
                v[i] = widen(h);
            }
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = e + i < k ? widen(w[e + i]) : 0.0f;
}

// aligned_rows reports whether rows of k elements can be read 16 bytes at a time.
template <typename T>
__device__ __forceinline__ bool aligned_rows(int k) {
    return (k * sizeof(T) & 15) == 0;
}

// dot_row is w·x to every lane of a warp.
template <typename T>
__device__ __forceinline__ float dot_row(const T* w, const float* x, int k) {
    bool aligned = aligned_rows<T>(k);
    float s = 0.0f;
#pragma unroll 5
    for (int e = 8 * (threadIdx.x & 31); e < k; e += 256) {
        float v[8];
        weights8(v, w, e, k, aligned);
#pragma unroll
        for (int i = 0; i < 8; i++) s = fmaf(v[i], e + i < k ? x[e + i] : 0.0f, s);
    }
    return warp_sum(s);
}
