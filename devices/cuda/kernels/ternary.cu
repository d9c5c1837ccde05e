// Ternary matrix products and the packing of their weights.
#include "ternary.cuh"

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

// ternary_tile computes MT rows of q against blockDim.x/LANES rows of weights.
// Activations are staged in shared memory as [MT][4][units] int4, so that the
// LANES threads of a row read different banks. The first PRE units of a row are
// requested before staging, to hide its latency.
template <int MT, int PRE>
__device__ __forceinline__ void ternary_tile(const i8* __restrict__ q, const uint4* __restrict__ t, int* __restrict__ acc,
                                             int m, int n, int k, int units) {
    DYNAMIC_SHARED(int4, act);
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
