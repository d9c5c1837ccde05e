// What a GPU can do at best: the limits that other kernels are judged by.
#include "mma.cuh"

// reads n units of 16 bytes; out is written only if a sum comes out as 1, so
// that no read can be left out.
extern "C" __global__ void __launch_bounds__(512) measure_read(const uint4* p, unsigned* out, long long n) {
    unsigned s = 0;
    long long step = (long long)gridDim.x * blockDim.x;
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        uint4 a = load_once(p + i), b = load_once(p + i + step), c = load_once(p + i + 2 * step), d = load_once(p + i + 3 * step);
        s ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
    }
    for (; i < n; i += step) {
        uint4 a = load_once(p + i);
        s ^= a.x ^ a.y ^ a.z ^ a.w;
    }
    if (s == 1) out[0] = s;
}

// CHAINS is how many products a warp has in flight.
#define CHAINS 8

// rounds times CHAINS products of 16x8x32 a warp
extern "C" __global__ void __launch_bounds__(256) measure_mma_s8(int* out, int rounds) {
    int d[CHAINS][4] = {};
    unsigned x = threadIdx.x * 0x01010101u;
    unsigned a[4] = {x, x ^ 1, x ^ 2, x ^ 3}, b[2] = {x, x ^ 5};
    for (int r = 0; r < rounds; r++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) mma_s8(d[c], a, b);
    }
    int s = 0;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) s ^= d[c][0] ^ d[c][1] ^ d[c][2] ^ d[c][3];
    if (s == 1) out[0] = s;
}

// rounds times CHAINS products of 16x8x16 a warp
extern "C" __global__ void __launch_bounds__(256) measure_mma_bf16(float* out, int rounds) {
    float d[CHAINS][4] = {};
    unsigned x = 0x3f803f80u ^ threadIdx.x;
    unsigned a[4] = {x, x ^ 1, x ^ 2, x ^ 3}, b[2] = {x, x ^ 5};
    for (int r = 0; r < rounds; r++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) mma_bf16(d[c], a, b);
    }
    float s = 0;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) s += d[c][0] + d[c][1] + d[c][2] + d[c][3];
    if (s == 1.5f) out[0] = s;
}
