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

#define LANES 8  // threads that share a weight row: 8 x 16 bytes are one line

// pack writes one word a thread; words = n * units * 4.
extern "C" __global__ void ternary_pack(const i8* t, unsigned* out, long long words, int k, int units) {
    long long w = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (w >= words) return;
    long long row = w / (units * 4);
    int k0 = (int)(w % (units * 4)) * 16;
    unsigned word = 0;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            int e = k0 + 4 * i + j;
            unsigned code = e < k ? (unsigned)t[row * k + e] & 3u : 0u;
            word |= code << (8 * j + 6 - 2 * i);
        }
    }
    out[w] = word;
}

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

// ternary_tile computes MT rows of q against blockDim.x/LANES rows of weights.
// Activations are staged in shared memory as [MT][4][units] int4, so that the
// LANES threads of a row read different banks. The first PRE units of a row are
// requested before staging, to hide its latency.
template <int MT, int PRE>
__device__ __forceinline__ void ternary_tile(const i8* __restrict__ q, const uint4* __restrict__ t, int* __restrict__ acc,
                                             int m, int n, int k, int units) {
    extern __shared__ int4 act[];
    int lane = threadIdx.x % LANES;
    int row = blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    const uint4* w = t + (size_t)row * units;
    int mine = row < n ? units : 0;  // units of this thread's row
    uint4 pre[PRE];
#pragma unroll
    for (int p = 0; p < PRE; p++) {
        if (lane + p * LANES < mine) pre[p] = __ldg(w + lane + p * LANES);
    }

    int m0 = blockIdx.y * MT;
    bool aligned = (k & 15) == 0;
    for (int i = threadIdx.x; i < MT * units * 4; i += blockDim.x) {
        int r = i / (units * 4), j = i % (units * 4);
        int4 v = make_int4(0, 0, 0, 0);
        if (m0 + r < m) v = load16(q + (size_t)(m0 + r) * k, j * 16, k, aligned);
        act[(r * 4 + (j & 3)) * units + (j >> 2)] = v;
    }
    __syncthreads();

    int sum[MT];
#pragma unroll
    for (int r = 0; r < MT; r++) sum[r] = 0;
#pragma unroll
    for (int p = 0; p < PRE; p++) {
        int u = lane + p * LANES;
        if (u < mine) dot_unit<MT>(pre[p], act + u, units, sum);
    }
#pragma unroll 4
    for (int u = lane + PRE * LANES; u < mine; u += LANES) dot_unit<MT>(__ldg(w + u), act + u, units, sum);
#pragma unroll
    for (int r = 0; r < MT; r++) {
        for (int o = LANES / 2; o > 0; o >>= 1) sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], o);
        if (row < n && lane == r % LANES && m0 + r < m) acc[(size_t)(m0 + r) * n + row] = sum[r] >> 6;
    }
}

extern "C" __global__ void __launch_bounds__(128)
    ternary_matmul_m1(const i8* q, const uint4* t, int* acc, int m, int n, int k, int units) {
    ternary_tile<1, 5>(q, t, acc, m, n, k, units);
}

extern "C" __global__ void __launch_bounds__(128)
    ternary_matmul_m8(const i8* q, const uint4* t, int* acc, int m, int n, int k, int units) {
    ternary_tile<8, 1>(q, t, acc, m, n, k, units);
}
