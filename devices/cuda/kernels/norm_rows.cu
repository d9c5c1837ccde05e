// Normalisation and quantisation of many rows: the codes and scales of norm_quant
// (linear.cu), bit for bit. A row is for a quarter of the threads, which do
// the work of four each, so that more rows are under way at once.
#include "rownorm.cuh"
#include "pdl.cuh"

#define QUARTER (ROW_THREADS / 4)
#define SHARES 4  // threads of ROW_THREADS whose work one thread does

// share is where the i-th of them begins: whole warps follow each other.
__device__ __forceinline__ int share(int i) { return 4 * (((threadIdx.x >> 5) * SHARES + i) * 32 + (threadIdx.x & 31)); }

// four is load4 for rows of whole fours.
__device__ __forceinline__ float4 four(const float* x, int e, int d) { return e < d ? *(const float4*)(x + e) : make_float4(0, 0, 0, 0); }

// STEPS is how many steps of ROW_STEP elements a row has at most.
template <int STEPS>
__device__ __forceinline__ void norm_row(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) {
    __shared__ Sums sums;
    float4 v[STEPS][SHARES];
    float square[SHARES], most = 0.0f;
#pragma unroll
    for (int k = 0; k < STEPS; k++)
#pragma unroll
        for (int i = 0; i < SHARES; i++) v[k][i] = four(x, share(i) + k * ROW_STEP, d);
#pragma unroll
    for (int i = 0; i < SHARES; i++) {
        square[i] = 0.0f;
#pragma unroll
        for (int k = 0; k < STEPS; k++) {
            float4 a = v[k][i], w = four(g, share(i) + k * ROW_STEP, d);
            square[i] = squares(a, square[i]);
            most = largest(make_float4(__fmul_rn(a.x, w.x), __fmul_rn(a.y, w.y), __fmul_rn(a.z, w.z), __fmul_rn(a.w, w.w)), most);
        }
    }
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) {
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, o));
#pragma unroll
        for (int i = 0; i < SHARES; i++) square[i] = __fadd_rn(square[i], __shfl_xor_sync(FULL_WARP, square[i], o));
    }
    if ((threadIdx.x & 31) == 0) {
#pragma unroll
        for (int i = 0; i < SHARES; i++) sums.square[(threadIdx.x >> 5) * SHARES + i] = square[i];
        sums.most[threadIdx.x >> 5] = most;
    }
    __syncthreads();
    float total = sums.square[threadIdx.x & 15];
    most = sums.most[threadIdx.x & 3];
    for (int o = 8; o > 0; o >>= 1) total = __fadd_rn(total, __shfl_xor_sync(FULL_WARP, total, o));
    for (int o = 2; o > 0; o >>= 1) most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, o));
    const float r = inverse_root((double)total * (1.0 / (double)d) + eps), sc = act_scale(__fmul_rn(most, r), qmax);
#pragma unroll
    for (int k = 0; k < STEPS; k++)
#pragma unroll
        for (int i = 0; i < SHARES; i++) {
            const int e = share(i) + k * ROW_STEP;
            if (e < d) *(int*)(q + e) = codes4(normed4(v[k][i], r, four(g, e, d)), sc, qmax);
        }
    if (threadIdx.x == 0) *s = sc;
}

// q, s = quant.act(rmsnorm(x, g)) of rows of d elements, a multiple of 4
#define NORM_ROWS(STEPS, BLOCKS)                                                                                       \
    KERNEL(QUARTER, BLOCKS, norm_rows_##STEPS)(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) { \
        launch_dependents();                                                                                           \
        grid_dependency_wait();                                                                                        \
        const size_t at = (size_t)blockIdx.x * d;                                                                      \
        norm_row<STEPS>(x + at, g, q + at, s + blockIdx.x, d, eps, qmax);                                              \
    }

NORM_ROWS(2, 8)
NORM_ROWS(4, 5)
