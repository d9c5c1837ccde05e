// Attention of a decode step by clusters of CLUSTER_BLOCKS blocks of threads: one for
// each token and key head. Every four warps have a block of keys in each round, and what
// they have of CLUSTER_ROUNDS of them stays in shared memory, where all blocks of the
// cluster read it to join it in order: the bits of flash_decode.cuh, without a detour
// through device memory.
#pragma once
#include "attend_step.cuh"

#define CLUSTER_BLOCKS 8
#define CLUSTER_TEAMS 2  // of four warps in a block
#define CLUSTER_ROUNDS 4
#define CLUSTER_KEYS (CLUSTER_BLOCKS * CLUSTER_TEAMS)  // blocks of keys in a round

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
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
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

// soon asks for block j of the keys and values, for 128 threads.
__device__ __forceinline__ void soon(const Cache& c, int seq, int head, int j, int last, int t) {
    int p = j * KEYS + (t >> 1);
    if (p > last) return;
    const u16* row = (t & 1 ? c.vc : c.kc) + ((size_t)c.table[seq * c.width + p / c.size] * c.size + p % c.size) * c.pitch + head * c.hd;
    prefetch_l2(row);
    prefetch_l2(row + c.hd / 2);
}

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
    // Of each round and team: m and l of each row, and its sums.
    float2* ml = (float2*)(shared + 32 * R::BYTES + CLUSTER_TEAMS * (2 * PANEL + 2 * 16 * 128 + 4 * 16 * 4));  // [rounds][teams][16]
    float* part = (float*)(ml + CLUSTER_ROUNDS * CLUSTER_TEAMS * 16);                                         // [rounds][teams][sums]

    const int s = step.seq[token];
    const Seen seen(step.pos[token], window);
    const int first = seen.first / KEYS, end = seen.last / KEYS;
    int j = first + rank * CLUSTER_TEAMS + team;
    if (j <= end) load_block<HD, 128>(at.k, at.v, c, s, head, j, seen.last, step.t);
    cp_async_commit();
    for (int n = 1; n < CLUSTER_ROUNDS; n++) soon(c, s, head, j + n * CLUSTER_KEYS, seen.last, step.t);
    step.find();
    if (eager) grid_dependency_wait();
    step.fetch(j, head);
    step.rotate<HD>(at.qh, at.ql, q, head, heads, group, threadIdx.x, THREADS);

    Joined sum;
    const int mine = 4 * (rank + CLUSTER_BLOCKS * (int)threadIdx.x), row = mine / c.hd;  // four columns that the thread joins
    for (int base = first; base <= end; base += CLUSTER_ROUNDS * CLUSTER_KEYS) {
        const int rounds = min(CLUSTER_ROUNDS, (end - base) / CLUSTER_KEYS + 1);
        if (base > first) cluster_sync();  // all have joined what is overwritten now
        for (int round = 0; round < rounds; round++, j += CLUSTER_KEYS) {
            cp_async_wait<0>();
            __syncthreads();
            if (j <= end) {
                auto sync = [&] { barrier(1 + team, 128); };
                if (step.patch<HD>(at.k, at.v, j, c, head)) sync();
                float oj[NT][4], mj[2], lj[4];
                attend_block<HD>(oj, mj, lj, at, j, seen, scale, sync);
                const int from = round * CLUSTER_TEAMS + team;
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    int r = g + 8 * h;
                    if (r >= group) continue;
                    if (warp == 0 && (lane & 3) == 0) ml[from * 16 + r] = make_float2(mj[h], lj[2 * h]);
#pragma unroll
                    for (int n = 0; n < NT; n++) {
                        int col = (warp * NT + n) * 8 + (lane & 3) * 2;
                        if (col < c.hd) *(float2*)(part + (size_t)from * sums + r * c.hd + col) = make_float2(oj[n][2 * h], oj[n][2 * h + 1]);
                    }
                }
                if (j + CLUSTER_KEYS <= end) {
                    sync();  // all have read the keys and values
                    load_block<HD, 128>(at.k, at.v, c, s, head, j + CLUSTER_KEYS, seen.last, step.t);
                }
            }
            cp_async_commit();
            step.fetch(j + CLUSTER_KEYS, head);
        }
        cluster_sync();
        const int AT_ONCE = 8;
        for (int i = 0; mine < sums && i < CLUSTER_ROUNDS * CLUSTER_KEYS && base + i <= end; i += AT_ONCE) {
            float2 x[AT_ONCE];
            float4 y[AT_ONCE];
#pragma unroll
            for (int n = 0; n < AT_ONCE; n++) {
                int from = (i + n) / CLUSTER_KEYS * CLUSTER_TEAMS + (i + n) % CLUSTER_TEAMS, block = (i + n) / CLUSTER_TEAMS % CLUSTER_BLOCKS;
                x[n] = Remote(ml + from * 16 + row, block).load2();
                y[n] = Remote(part + (size_t)from * sums + mine, block).load4();
            }
#pragma unroll
            for (int n = 0; n < AT_ONCE; n++) {
                if (base + i + n <= end) sum.add(x[n], y[n]);
            }
        }
    }
    if (mine < sums) *(float4*)(o + ((size_t)token * heads + head * group) * c.hd + mine) = sum.result();
    cluster_sync();  // others may still read this block's shared memory
}
