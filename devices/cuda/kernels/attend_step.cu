// The kernels of attend_step.cuh.
#include "attend_staged.cuh"
#include "attend_step.cuh"
#include "pdl.cuh"

// soon asks for the block's first keys and values. It runs before the wait, when
// seq, pos and table may not be there yet: so it believes nothing that they say.
__device__ __forceinline__ void soon(const Cache& c, const int* seq, const int* pos, int sequences, int pages, int window) {
    int s = seq[blockIdx.z], last = pos[blockIdx.z];
    if (s < 0 || s >= sequences || last < 0 || last >= c.width * c.size) return;
    int p = (Seen(last, window).first / KEYS + blockIdx.x) * KEYS + (threadIdx.x >> 1);
    if (p >= last) return;
    int page = c.table[s * c.width + p / c.size];
    if (page < 0 || page >= pages) return;
    const u16* row = (threadIdx.x & 1 ? c.vc : c.kc) + ((size_t)page * c.size + p % c.size) * c.pitch + blockIdx.y * c.hd;
    prefetch_l2(row);
    prefetch_l2(row + c.hd / 2);
}

#define ATTEND(HD)                                                                                                                         \
    KERNEL(128, 2, attend_step_##HD)                                                                                                            \
    (u16 * kc, u16 * vc, const float* q, const float* k, const float* v, const int* seq, const int* pos, const int* table,                 \
     const float* angles, float* o, float* part, float* ml, int* tickets, int tokens, int heads, int group, int hd, int sequences,         \
     int width, int pages, int size, int window, float scale, int blocks) {                                                                \
        __shared__ int list[STEP_TOKENS + 1];                                                                                              \
        launch_dependents();                                                                                                               \
        int wide = heads / group * hd;                                                                                                     \
        Cache c = {kc, vc, table, width, size, wide, hd};                                                                                  \
        soon(c, seq, pos, sequences, pages, window);                                                                                       \
        grid_dependency_wait();                                                                                                            \
        Step step = {kc, vc, k, v, angles, seq, pos, list, (int)blockIdx.z, tokens, wide, hd, 0, (int)threadIdx.x, -1, 0.0f, 0.0f, 0.0f};            \
        decode<HD>(step, q, c, seq, pos, o, part, ml, tickets, heads, group, window, scale, blocks);                                                \
    }
ATTEND(64)
ATTEND(128)

// With a cluster for each token and key head, or a block, which needs sm_90.
#if defined(SM90) || !defined(__CUDACC__)
#ifdef SM90
#define CLUSTER(size, threads, blocks, name) extern "C" __global__ void __cluster_dims__(size, 1, 1) __launch_bounds__(threads, blocks) name##_sm90
#else
#define CLUSTER(size, threads, blocks, name) KERNEL(threads, blocks, name)
#endif
#define ATTEND_STAGED(head, BLOCKS, STAGES, HD)                                                                                             \
    head(u16* kc, u16* vc, const float* q, const float* k, const float* v, const int* seq, const int* pos, const int* table,                \
         const float* angles, float* o, int tokens, int heads, int group, int hd, int width, int size, int window, float scale,             \
         int parts, int eager) {                                                                                                            \
        attend_staged<HD, BLOCKS, STAGES>(kc, vc, q, k, v, seq, pos, table, angles, o, tokens, heads, group, hd, width, size, window, scale, \
                                          parts, eager);                                                                                    \
    }
ATTEND_STAGED(CLUSTER(16, 128, 5, attend_cluster_64), 16, 1, 64)
ATTEND_STAGED(CLUSTER(16, 128, 5, attend_cluster_128), 16, 1, 128)
ATTEND_STAGED(KERNEL(128, 5, attend_alone_64), 1, 2, 64)
ATTEND_STAGED(KERNEL(128, 5, attend_alone_128), 1, 2, 128)
#endif
