// Attention of a decode step by clusters of CLUSTER_BLOCKS blocks of threads: one for
// each token and key head. Every four warps have a block of keys in each round, and what
// they have of it stays in shared memory, where all blocks of the cluster read it to join
// it in order: the bits of flash_decode.cuh, without a detour through device memory.
#pragma once
#include "attend_step.cuh"

#define CLUSTER_BLOCKS 8
#define CLUSTER_TEAMS 2  // of four warps in a block
#define CLUSTER_KEYS (CLUSTER_BLOCKS * CLUSTER_TEAMS)

#ifdef SM90
#define CLUSTER_KERNEL(name) \
    extern "C" __global__ void __cluster_dims__(CLUSTER_BLOCKS, 1, 1) __launch_bounds__(128 * CLUSTER_TEAMS, 2) name##_sm90
#else
#define CLUSTER_KERNEL(name) extern "C" __global__ void __launch_bounds__(128 * CLUSTER_TEAMS, 2) name
#endif

// cluster_sync waits for all threads of the cluster; shared memory that one wrote before
// is seen by all behind it.
__device__ __forceinline__ void cluster_sync() {
#ifdef __CUDA_ARCH__
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    emulator::cluster_sync();
#endif
}

// Remote is shared memory that lies in a block of the cluster where p lies in this one.
struct Remote {
#ifdef __CUDA_ARCH__
    unsigned at;
    __device__ __forceinline__ Remote(const void* p, int block) {
        unsigned here = (unsigned)__cvta_generic_to_shared(p);
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(here), "r"(block));
    }
    __device__ __forceinline__ float2 load2() const {
        float2 v;
        asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at) : "memory");
        return v;
    }
    __device__ __forceinline__ float4 load4() const {
        float4 v;
        asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(at) : "memory");
        return v;
    }
#else
    const void* at;
    Remote(const void* p, int block) : at(emulator::in_cluster(p, block)) {}
    float2 load2() const { return *(const float2*)at; }
    float4 load4() const { return *(const float4*)at; }
#endif
};

// attend_cluster is the work of a block of 128*CLUSTER_TEAMS threads. eager says that
// seq, pos and the cache are ready before the kernels before this one are done.
template <int HD>
__device__ __forceinline__ void attend_cluster(Step& step, const float* q, const Cache& c, float* o, int heads, int group, int window, float scale,
                                               int eager) {
    DYNAMIC_SHARED(u8, shared);
    typedef Rows<HD> R;
    const int PANEL = KEYS * R::BYTES, NT = HD / 32, THREADS = 128 * CLUSTER_TEAMS;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, g = lane >> 2, team = threadIdx.x >> 7, rank = blockIdx.x, head = blockIdx.y;
    const int token = step.token, sums = group * c.hd;
    Panels at;
    at.qh = shared, at.ql = shared + 16 * R::BYTES;
    u8* own = shared + 32 * R::BYTES + team * (2 * PANEL + 2 * 16 * 128 + 4 * 16 * 4);
    at.k = own, at.v = own + PANEL, at.ph = own + 2 * PANEL, at.pl = at.ph + 16 * 128, at.most = (float*)(at.pl + 16 * 128);
    // Of two rounds in turn: m and l of each row, and its sums.
    float2* ml = (float2*)(shared + 32 * R::BYTES + CLUSTER_TEAMS * (2 * PANEL + 2 * 16 * 128 + 4 * 16 * 4));  // [2][teams][16]
    float* part = (float*)(ml + 2 * CLUSTER_TEAMS * 16);                                                      // [2][teams][sums]

    const int s = step.seq[token];
    const Seen seen(step.pos[token], window);
    const int first = seen.first / KEYS, end = seen.last / KEYS;
    int j = first + rank * CLUSTER_TEAMS + team;
    if (j <= end) load_block<HD, 128>(at.k, at.v, c, s, head, j, seen.last, step.t);
    cp_async_commit();
    step.find();
    if (eager) grid_dependency_wait();
    step.fetch(j, head);
    step.rotate<HD>(at.qh, at.ql, q, head, heads, group, threadIdx.x, THREADS);

    Joined sum;
    const int mine = 4 * (rank + CLUSTER_BLOCKS * (int)threadIdx.x), row = mine / c.hd;  // four columns that the thread joins
    for (int base = first, turn = 0; base <= end; base += CLUSTER_KEYS, j += CLUSTER_KEYS, turn ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        if (j <= end) {
            auto sync = [&] { barrier(1 + team, 128); };
            if (step.patch<HD>(at.k, at.v, j, c, head)) sync();
            float oj[NT][4], mj[2], lj[4];
            attend_block<HD>(oj, mj, lj, at, j, seen, scale, sync);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int r = g + 8 * h;
                if (r >= group) continue;
                if (warp == 0 && (lane & 3) == 0) ml[(turn * CLUSTER_TEAMS + team) * 16 + r] = make_float2(mj[h], lj[2 * h]);
                float* to = part + (size_t)(turn * CLUSTER_TEAMS + team) * sums + r * c.hd;
#pragma unroll
                for (int n = 0; n < NT; n++) {
                    int col = (warp * NT + n) * 8 + (lane & 3) * 2;
                    if (col < c.hd) *(float2*)(to + col) = make_float2(oj[n][2 * h], oj[n][2 * h + 1]);
                }
            }
            if (j + CLUSTER_KEYS <= end) {
                sync();  // all have read the keys and values
                load_block<HD, 128>(at.k, at.v, c, s, head, j + CLUSTER_KEYS, seen.last, step.t);
            }
        }
        cp_async_commit();
        step.fetch(j + CLUSTER_KEYS, head);
        cluster_sync();
        if (mine < sums) {
            const int AT_ONCE = 8;
            for (int i = 0; i < CLUSTER_KEYS && base + i <= end; i += AT_ONCE) {
                float2 x[AT_ONCE];
                float4 y[AT_ONCE];
#pragma unroll
                for (int n = 0; n < AT_ONCE; n++) {
                    int from = turn * CLUSTER_TEAMS + (i + n) % CLUSTER_TEAMS, block = (i + n) / CLUSTER_TEAMS;
                    x[n] = Remote(ml + from * 16 + row, block).load2();
                    y[n] = Remote(part + (size_t)from * sums + mine, block).load4();
                }
#pragma unroll
                for (int n = 0; n < AT_ONCE; n++) {
                    if (base + i + n <= end) sum.add(x[n], y[n]);
                }
            }
        }
    }
    if (mine < sums) *(float4*)(o + ((size_t)token * heads + head * group) * c.hd + mine) = sum.result();
    cluster_sync();  // others may still read this block's shared memory
}
