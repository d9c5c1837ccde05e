// Ternary matrix products: int8 activations, 2-bit weights, int32 sums (W2A8).
//
// Layout "i2x64.dp4a" of t[n,k]: each row is padded with zeros to a multiple of
// 64 elements, and each 64 elements are one unit of 16 bytes. Word c of a unit
// holds elements 16c to 16c+15; element 4i+j of a word is the two bits
// 7-2i..6-2i of byte j, as a two's complement number. So
//
//     (word << 2i) & 0xc0c0c0c0
//
// is four consecutive elements as signed bytes, times 64: an operand of dp4a.
// The sum is 64 times the product, exactly, as long as 64*128*k < 2^31.
#pragma once
#include "common.cuh"

// load16 reads elements e..e+15 of a row of k bytes, zero beyond its end.
__device__ __forceinline__ int4 load16(const i8* row, int e, int k, bool aligned) {
    if (aligned && e + 16 <= k) return *(const int4*)(row + e);
    unsigned v[4] = {0, 0, 0, 0};
    for (int b = 0; b < 16; b++) {
        if (e + b < k) v[b >> 2] |= (unsigned)(unsigned char)row[e + b] << (8 * (b & 3));
    }
    return make_int4((int)v[0], (int)v[1], (int)v[2], (int)v[3]);
}

__device__ __forceinline__ int dot16(unsigned w, int4 a, int sum) {
    sum = __dp4a((int)(w & 0xc0c0c0c0u), a.x, sum);
    sum = __dp4a((int)(w << 2 & 0xc0c0c0c0u), a.y, sum);
    sum = __dp4a((int)(w << 4 & 0xc0c0c0c0u), a.z, sum);
    return __dp4a((int)(w << 6 & 0xc0c0c0c0u), a.w, sum);
}

// dot_unit adds one unit's products with MT rows of staged activations.
template <int MT>
__device__ __forceinline__ void dot_unit(uint4 v, const int4* a, int units, int* sum) {
#pragma unroll
    for (int r = 0; r < MT; r++) {
        sum[r] = dot16(v.x, a[0], sum[r]);
        sum[r] = dot16(v.y, a[units], sum[r]);
        sum[r] = dot16(v.z, a[2 * units], sum[r]);
        sum[r] = dot16(v.w, a[3 * units], sum[r]);
        a += 4 * units;
    }
}
