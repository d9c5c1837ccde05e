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

// dp4a_us adds four products of unsigned and signed bytes.
__device__ __forceinline__ int dp4a_us(unsigned a, unsigned b, int sum) {
#ifdef __CUDA_ARCH__
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return emulated_dp4a<unsigned, unsigned char, signed char, int>(a, b, sum);
#endif
}

// sign_bits is 0xaaaaaaaa in a register whose value the compiler does not know: from two
// constants it would make two instructions of turned.
__device__ __forceinline__ unsigned sign_bits() {
#ifdef __CUDA_ARCH__
    unsigned v;
    asm volatile("mov.u32 %0, 0xaaaaaaaa;" : "=r"(v));
    return v;
#else
    return 0xaaaaaaaau;
#endif
}

// turned is (w ^ turn) & mask.
__device__ __forceinline__ unsigned turned(unsigned w, unsigned turn, unsigned mask) {
#ifdef __CUDA_ARCH__
    unsigned v;
    asm("lop3.b32 %0, %1, %2, %3, 0x28;" : "=r"(v) : "r"(w), "r"(turn), "r"(mask));
    return v;
#else
    return (w ^ turn) & mask;
#endif
}

__device__ __forceinline__ int dot16(unsigned w, int4 a, int sum) {
    sum = __dp4a((int)(w & 0xc0c0c0c0u), a.x, sum);
    sum = __dp4a((int)(w << 2 & 0xc0c0c0c0u), a.y, sum);
    sum = __dp4a((int)(w << 4 & 0xc0c0c0c0u), a.z, sum);
    return __dp4a((int)(w << 6 & 0xc0c0c0c0u), a.w, sum);
}

// dot_fields is the product of a unit of weights + 2, without sign, with its 64 codes,
// times 64: q[c] are those of word c. Two bits with the sign bit turned are the weight + 2,
// and stay where they are in a byte, as that times 64, 16, 4 or 1: so a word takes one
// instruction each for four of its elements. What is too much, 128 for each code, is taken
// off once a row.
__device__ __forceinline__ int dot_fields(uint4 w, const uint4 (&q)[4], unsigned turn) {
    const unsigned words[4] = {w.x, w.y, w.z, w.w};
    int a = 0, b = 0, c = 0, d = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        a = dp4a_us(turned(words[i], turn, 0xc0c0c0c0u), q[i].x, a);
        b = dp4a_us(turned(words[i], turn, 0x30303030u), q[i].y, b);
        c = dp4a_us(turned(words[i], turn, 0x0c0c0c0cu), q[i].z, c);
        d = dp4a_us(turned(words[i], turn, 0x03030303u), q[i].w, d);
    }
    return ((d * 4 + c) * 4 + b) * 4 + a;
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
