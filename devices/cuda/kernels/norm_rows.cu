// Normalisation and quantisation of many rows: the codes and scales of norm_quant
// (linear.cu), bit for bit. A row is for a quarter of the threads, which do
// the work of four each, so that more rows are under way at once.
#include "rownorm.cuh"
#include "pdl.cuh"

#define QUARTER (ROW_THREADS / 4)
#define SHARES 4  // threads of ROW_THREADS whose work one thread does

// share is where the i-th of them begins: whole warps follow each other.
__device__ __forceinline__ int share(int i) { return 4 * (((threadIdx.x >> 5) * SHARES + i) * 32 + (threadIdx.x & 31)); }

// STEPS is how many steps of ROW_STEP elements a row has at most: SLOTS at most in all.
template <int STEPS>
__device__ __forceinline__ void norm_row(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) {
    __shared__ Sums sums;
    const int warp = threadIdx.x >> 5;
    float4 v[STEPS][SHARES];
    float square[STEPS * SHARES], most = 0.0f;
#pragma unroll
    for (int k = 0; k < STEPS; k++)
#pragma unroll
        for (int i = 0; i < SHARES; i++) v[k][i] = four(x, share(i) + k * ROW_STEP, d);
    const Mean mean(d, eps);
#pragma unroll
    for (int k = 0; k < STEPS; k++)
#pragma unroll
        for (int i = 0; i < SHARES; i++) {
            square[k * SHARES + i] = squares(v[k][i], 0.0f);
            most = largest(products(v[k][i], four(g, share(i) + k * ROW_STEP, d)), most);
        }
    most = most_of(most);
    keep_sums(&sums, square, [&](int j) { return j / SHARES * (ROW_THREADS / 32) + warp * SHARES + j % SHARES; });
    if ((threadIdx.x & 31) == 0) sums.most[warp] = most;
    __syncthreads();
    const float r = mean.inverse_root(sum_slots(&sums, slots(d)));
    const float sc = act_scale(__fmul_rn(most_of(sums.most[threadIdx.x & 3]), r), qmax);
#pragma unroll
    for (int k = 0; k < STEPS; k++)
#pragma unroll
        for (int i = 0; i < SHARES; i++) {
            const int e = share(i) + k * ROW_STEP;
            if (e < d) *(int*)(q + e) = codes4(normed4(v[k][i], r, four(g, e, d)), sc);
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
