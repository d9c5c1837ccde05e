// Attention of few tokens over a paged cache; see flash_cached.cuh.
#pragma once
#include "flash_cached.cuh"

// Plain is decoding of queries as they are over a cache that has all positions.
struct Plain {
    template <int HD>
    __device__ __forceinline__ void queries(u8* hi, u8* lo, const float* q, int token, int head, int heads, int group, int hd) {
        store_queries<HD, 128>(hi, lo, 16, q + (size_t)token * heads * hd, group, heads, group, head * group, hd);
    }
    __device__ __forceinline__ void fetch(int, int) {}
    template <int HD>
    __device__ __forceinline__ bool patch(u8*, u8*, int, const Cache&, int) {
        return false;
    }
};

// Panels are what four warps work on in shared memory: 16 rows of queries in two halves,
// a block of keys and values, 16 rows of 64 probabilities in two halves, and the largest
// score [warp][row].
struct Panels {
    u8 *qh, *ql, *k, *v, *ph, *pl;
    float* most;
};

// attend_block works out what the rows have of block j of the keys: its warps share the
// keys for the scores, and the columns of the values for the output. All four call it, and
// so they do sync.
template <int HD, typename Sync>
__device__ __forceinline__ void attend_block(float (&oj)[HD / 32][4], float (&mj)[2], float (&lj)[4], const Panels& at, int j, const Seen& seen, float scale,
                                             Sync sync) {
    typedef Rows<HD> R;
    const int NT = HD / 32, lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3, g = lane >> 2;
    u8 *qh = at.qh, *ql = at.ql, *k = at.k, *v = at.v, *ph = at.ph, *pl = at.pl;
    float* most = at.most;
    float x[2][4];
    mj[0] = mj[1] = -INFINITY;
#pragma unroll
    for (int i = 0; i < HD / 16; i++) {
        unsigned hi[4], lo[4];
        R::rows_a(hi, qh, 0, i);
        R::rows_a(lo, ql, 0, i);
        scores<HD, 1>(x, hi, lo, k, warp * 16, i);
    }
#pragma unroll
    for (int e = 0; e < 8; e++) {
        bool in = seen(j * KEYS + warp * 16 + (e >> 2) * 8 + (lane & 3) * 2 + (e & 1));
        float y = in ? __fmul_rn(x[e >> 2][e & 3], scale) : -INFINITY;
        x[e >> 2][e & 3] = y;
        mj[e >> 1 & 1] = fmaxf(mj[e >> 1 & 1], y);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float y = quad_max(mj[h]);
        if ((lane & 3) == 0) most[warp * 16 + g + 8 * h] = y;
    }
    sync();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float* y = most + g + 8 * h;
        mj[h] = fmaxf(fmaxf(y[0], y[16]), fmaxf(y[32], y[48]));
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        float* y = &x[e >> 1][(e & 1) * 2];
        Split p = split(probability(y[0], above(mj[e & 1])), probability(y[1], above(mj[e & 1])));
        int r = g + 8 * (e & 1), at = (int)(Rows<64>::at(ph, r, warp * 2 + (e >> 1)) - ph) + (lane & 3) * 4;
        *(unsigned*)(ph + at) = p.hi;
        *(unsigned*)(pl + at) = p.lo;
    }
    sync();
    lj[0] = lj[1] = lj[2] = lj[3] = 0.0f;
    ONES(ones);
#pragma unroll
    for (int i = 0; i < KEYS / 16; i++) {
        unsigned hi[4], lo[4];
        Rows<64>::rows_a(hi, ph, 0, i);
        Rows<64>::rows_a(lo, pl, 0, i);
        mma_f16(lj, hi, ones);
        outputs<HD, NT / 2>(oj, hi, lo, v, warp * NT * 8, i * 16);
        mma_f16(lj, lo, ones);
    }
}

// Decoding: a block of 128 threads has the rows of one token and key head, at
// most 16, and every gridDim.x-th block of keys. Its warps share the keys of a
// block for the scores, and the columns of the values for the output. With
// gridDim.x > 1, the sums of each block of keys go to part, [token][head][block]
// rows of hd sums, and m and l to ml, and the last block of threads joins them. tickets
// are zeros between launches, one for each token and key head. step supplies
// queries, and rows of keys and values that the cache lacks.
template <int HD, typename Step>
__device__ __forceinline__ void decode(Step& step, const float* q, Cache c, const int* seq, const int* pos, float* o, float* part, float* ml,
                                       int* tickets, int heads, int group, int window, float scale, int blocks) {
    typedef Rows<HD> R;
    const int THREADS = 128, PANEL = KEYS * R::BYTES, NT = HD / 32;  // NT: tiles of eight columns a warp
    DYNAMIC_SHARED(u8, shared);
    u8 *qh = shared, *ql = shared + 16 * R::BYTES, *kv = shared + 32 * R::BYTES;
    u8* ph = kv + 4 * PANEL;  // probabilities: 16 rows of 64
    u8* pl = ph + 16 * 128;
    float* most = (float*)(pl + 16 * 128);  // [warp][row]
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, head = blockIdx.y, token = blockIdx.z;
    const int s = seq[token];
    const Seen seen(pos[token], window);

    int j = seen.first / KEYS + blockIdx.x, end = seen.last / KEYS, slot = 0;
    if (j > end) return;
    load_block<HD, THREADS>(kv, kv + PANEL, c, s, head, j, seen.last, threadIdx.x);
    cp_async_commit();
    step.template queries<HD>(qh, ql, q, token, head, heads, group, c.hd);

    float out[NT][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) out[n][e] = 0.0f;
    for (; j <= end; j += gridDim.x, slot ^= 1) {
        step.fetch(j, head);
        cp_async_wait<0>();
        __syncthreads();
        u8 *k = kv + slot * 2 * PANEL, *v = k + PANEL;
        if (step.template patch<HD>(k, v, j, c, head)) __syncthreads();
        if (j + (int)gridDim.x <= end) {
            u8* to = kv + (slot ^ 1) * 2 * PANEL;
            load_block<HD, THREADS>(to, to + PANEL, c, s, head, j + gridDim.x, seen.last, threadIdx.x);
        }
        cp_async_commit();

        float oj[NT][4], mj[2], lj[4];
        attend_block<HD>(oj, mj, lj, {qh, ql, k, v, ph, pl, most}, j, seen, scale, [] { __syncthreads(); });
        if (gridDim.x == 1) {
            Joining join[2] = {Joining(m[0], mj[0]), Joining(m[1], mj[1])};
#pragma unroll
            for (int h = 0; h < 2; h++) {
                m[h] = join[h].m;
                l[h] = join[h](l[h], lj[2 * h]);
            }
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) out[n][e] = join[e >> 1](out[n][e], oj[n][e]);
            continue;
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int r = g + 8 * h;
            if (r >= group) continue;
            size_t at = ((size_t)token * heads + head * group + r) * blocks + j;
            if (warp == 0 && (lane & 3) == 0) *(float2*)(ml + 2 * at) = make_float2(mj[h], lj[2 * h]);
#pragma unroll
            for (int n = 0; n < NT; n++) {
                int col = (warp * NT + n) * 8 + (lane & 3) * 2;
                if (col < c.hd) *(float2*)(part + at * c.hd + col) = make_float2(oj[n][2 * h], oj[n][2 * h + 1]);
            }
        }
    }
    if (gridDim.x > 1) {
        // The last block to come here joins what all have left in memory, and
        // takes the ticket back for the next launch.
        __shared__ int last;
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) {
            int* ticket = tickets + token * gridDim.y + head;
            int others = min((int)gridDim.x, end - seen.first / KEYS + 1) - 1;
            last = atomicAdd(ticket, 1) == others;
            if (last) *ticket = 0;
        }
        __syncthreads();
        if (!last) return;
        __threadfence();
        for (int x = 4 * threadIdx.x; x < group * c.hd; x += 4 * THREADS) {
            size_t row = (size_t)token * heads + head * group + x / c.hd;
            *(float4*)(o + row * c.hd + x % c.hd) = joined(part + row * blocks * c.hd + x % c.hd, ml + row * blocks * 2, c.hd, seen);
        }
        return;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = g + 8 * h;
        if (r >= group) continue;
        float inverse = __fdiv_rn(1.0f, l[h]);
        float* to = o + ((size_t)token * heads + head * group + r) * c.hd;
#pragma unroll
        for (int n = 0; n < NT; n++) {
            int col = (warp * NT + n) * 8 + (lane & 3) * 2;
            if (col < c.hd) *(float2*)(to + col) = make_float2(__fmul_rn(out[n][2 * h], inverse), __fmul_rn(out[n][2 * h + 1], inverse));
        }
    }
}
