// Ternary products with a scale for each group of columns (ops/ternary,
// GroupMatMulOp), of weights as they are, a byte each.
#include "common.cuh"

// y[i,j] = (sum over groups of gamma[j,g] * acc_g) / s[i], rounded as the reference
// rounds. A warp has one element; blocks are 8 rows of t by tokens.
extern "C" __global__ void __launch_bounds__(256)
    ternary_group_matmul(const i8* q, const float* s, const i8* t, const float* gamma, float* y, int n, int k, int groups) {
    int j = blockIdx.x * 8 + (threadIdx.x >> 5), i = blockIdx.y, lane = threadIdx.x & 31, size = k / groups;
    if (j >= n) return;
    q += (size_t)i * k;
    t += (size_t)j * k;
    float sum = 0.0f;
    for (int g = 0; g < groups; g++) {
        int acc = 0;
        for (int e = lane; e < size; e += 32) acc += (int)q[g * size + e] * (int)t[g * size + e];
        sum = __fadd_rn(sum, __fmul_rn((float)warp_sum(acc), gamma[(size_t)j * groups + g]));
    }
    if (lane == 0) y[(size_t)i * n + j] = __fdiv_rn(sum, s[i]);
}
