// Picking rows, such as those of the tokens whose logits a step is for.
#include "common.cuh"
#include "pdl.cuh"

// pick_rows copies words; an index outside gives words of ones.
template <typename W>
__device__ __forceinline__ void pick_rows(const W* x, const int* ids, W* y, int n, int d) {
    launch_dependents();
    grid_dependency_wait();
    int id = ids[blockIdx.x];
    bool in = id >= 0 && id < n;
    for (int k = threadIdx.x; k < d; k += blockDim.x) y[(long long)blockIdx.x * d + k] = in ? x[(long long)id * d + k] : (W)~0u;
}

KERNEL(256, 1, pick_rows_32)(const unsigned* x, const int* ids, unsigned* y, int n, int d) { pick_rows(x, ids, y, n, d); }
KERNEL(256, 1, pick_rows_16)(const u16* x, const int* ids, u16* y, int n, int d) { pick_rows(x, ids, y, n, d); }
