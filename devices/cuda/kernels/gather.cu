// What stands beside the collectives of NCCL.
#include "common.cuh"

// y[s][r*n + j] = parts[r][s][j]: a block for each row s and rank r
extern "C" __global__ void __launch_bounds__(256) gather_columns(const float* parts, float* y, int n) {
    long long s = blockIdx.x, r = blockIdx.y, rows = gridDim.x, ranks = gridDim.y;
    const float* from = parts + (r * rows + s) * n;
    float* to = y + (s * ranks + r) * n;
    for (int j = threadIdx.x; j < n; j += blockDim.x) to[j] = from[j];
}
