// Attention over a paged cache, for prefill and for decoding, with equal bits.
//
// A row is one query head of one token. Its keys come in blocks of 64 positions,
// counted from position 0. Of each block that it sees anything of, a row computes
// by itself, with scores in powers of two,
//
//     m_j = max(s),  p = 2^(s - m_j),  l_j = sum(p),  o_j = p v
//
// and joins the blocks in ascending order (joined, below). All products are mma
// in f16 with f32 sums: keys and values are f16 in the cache, queries and
// probabilities are split in two halves each, which keeps about 22 bits. What a
// row gets does not depend on the other rows of an mma, so prefill (64 rows of
// several tokens a block of threads) and decoding (the rows of one token a block
// of threads, key blocks in parallel) agree.
//
// Blockwise softmax: Milakov and Gimelshein 2018; Dao et al. 2022; split keys:
// "Flash-Decoding" (Dao et al. 2023).
#include "flash.cuh"

// Cache is the paged cache: position p of sequence s is row
// table[s][p / size] * size + p % size of kc and vc, with pitch elements.
struct Cache {
    const u16 *kc, *vc;
    const int* table;
    int width, size, pitch, hd;

    __device__ __forceinline__ size_t row(int seq, int p) const { return (size_t)table[seq * width + p / size] * size + p % size; }
};

// load_block starts copying block j of sequence seq and a key head: positions up
// to last; the others, and columns beyond hd, become zero.
template <int HD, int THREADS>
__device__ __forceinline__ void load_block(u8* k, u8* v, const Cache& c, int seq, int head, int j, int last) {
    typedef Rows<HD> R;
#pragma unroll
    for (int i = 0; i < KEYS * R::CHUNKS / THREADS; i++) {
        int x = threadIdx.x + i * THREADS, r = x / R::CHUNKS, chunk = x % R::CHUNKS, p = j * KEYS + r;
        bool in = p <= last && chunk * 8 < c.hd;
        size_t from = in ? c.row(seq, p) * c.pitch + head * c.hd + chunk * 8 : 0;
        cp_async16(R::at(k, r, chunk), c.kc + from, in ? 16 : 0);
        cp_async16(R::at(v, r, chunk), c.vc + from, in ? 16 : 0);
    }
}

// store_queries splits rows of q into the panels hi and lo: row r is head
// first + r % group of token r / group.
template <int HD, int THREADS>
__device__ __forceinline__ void store_queries(u8* hi, u8* lo, int rows, const float* q, int count, int heads, int group, int first, int hd) {
    typedef Rows<HD> R;
    for (int x = threadIdx.x; x < rows * R::CHUNKS; x += THREADS) {
        int r = x / R::CHUNKS, chunk = x % R::CHUNKS;
        uint4 h = make_uint4(0, 0, 0, 0), l = h;
        if (r < count && chunk * 8 < hd) {
            const float* from = q + ((size_t)(r / group) * heads + first + r % group) * hd + chunk * 8;
            float4 a = *(const float4*)from, b = *(const float4*)(from + 4);
            Split s0 = split(a.x, a.y), s1 = split(a.z, a.w), s2 = split(b.x, b.y), s3 = split(b.z, b.w);
            h = make_uint4(s0.hi, s1.hi, s2.hi, s3.hi);
            l = make_uint4(s0.lo, s1.lo, s2.lo, s3.lo);
        }
        *(uint4*)R::at(hi, r, chunk) = h;
        *(uint4*)R::at(lo, r, chunk) = l;
    }
}

// scores adds the products of 16 rows from row on with 16 keys from key on to s:
// two fragments of eight keys.
template <int HD>
__device__ __forceinline__ void scores(float (&s)[2][4], const unsigned (&hi)[4], const unsigned (&lo)[4], u8* k, int key, int step) {
    unsigned f[4];
    Rows<HD>::along(f, k, key, step);
#pragma unroll
    for (int e = 0; e < 2; e++) {
        PAIR(b, f, e);
        mma_f16(s[e], hi, b);
        mma_f16(s[e], lo, b);
    }
}

// Seen is what a row may attend to: positions first..last, none if last < 0.
struct Seen {
    int first, last;
    __device__ __forceinline__ Seen(int pos, int window) : first(window > 0 ? max(0, pos - window + 1) : 0), last(pos) {}
    __device__ __forceinline__ bool operator()(int p) const { return p >= first && p <= last; }
    __device__ __forceinline__ bool any(int j) const { return last >= j * KEYS && first < (j + 1) * KEYS; }
};

__device__ __forceinline__ float score(float dot, float scale, bool seen) { return seen ? __fmul_rn(dot, scale) : -INFINITY; }

// above is m, or 0 where nothing was seen, so that differences are numbers.
__device__ __forceinline__ float above(float m) { return m == -INFINITY ? 0.0f : m; }

__device__ __forceinline__ float probability(float s, float m) { return exp2_approx(__fsub_rn(s, above(m))); }

// Joining is how a row's sums so far and those of the next block are weighted.
struct Joining {
    float m, old, next;
    __device__ __forceinline__ Joining(float m0, float mj) {
        m = fmaxf(m0, mj);
        old = exp2_approx(__fsub_rn(m0, above(m)));
        next = exp2_approx(__fsub_rn(mj, above(m)));
    }
    __device__ __forceinline__ float operator()(float sum, float more) const { return fmaf(more, next, __fmul_rn(sum, old)); }
};

// ones is a fragment of b that is all 1: its product is the sums of a's rows.
#define ONES(name) unsigned name[2] = {0x3c003c00u, 0x3c003c00u}

// Prefill: a block of 128 threads has 64 rows of one key head, 16 a warp: all
// heads of the group for as many consecutive tokens as fit. Tokens of several
// sequences are taken sequence by sequence.
template <int HD>
__device__ __forceinline__ void prefill(const float* q, Cache c, const int* seq, const int* pos, float* o, int tokens, int heads,
                                        int group, int window, float scale) {
    typedef Rows<HD> R;
    const int THREADS = 128, ROWS = 64, PANEL = 64 * R::BYTES;
    DYNAMIC_SHARED(u8, shared);
    u8 *qh = shared, *ql = shared + PANEL, *kv = shared + 2 * PANEL;
    int* seqs = (int*)(shared + 6 * PANEL);
    int* poss = seqs + ROWS;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.y;
    const int fit = ROWS / group, token0 = (gridDim.x - 1 - blockIdx.x) * fit, many = min(fit, tokens - token0);  // long ones first

    store_queries<HD, THREADS>(qh, ql, ROWS, q + (size_t)token0 * heads * c.hd, many * group, heads, group, head * group, c.hd);
    for (int i = threadIdx.x; i < many; i += THREADS) {
        seqs[i] = seq[token0 + i];
        poss[i] = pos[token0 + i];
    }
    __syncthreads();

    int row[2];
    int token[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        row[h] = warp * 16 + (lane >> 2) + 8 * h;
        token[h] = row[h] / group < many ? row[h] / group : -1;
    }
    float out[HD / 8][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < HD / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) out[n][e] = 0.0f;

    for (int t = 0; t < many; t++) {
        int s = seqs[t];
        bool before = false;
        for (int i = 0; i < t && !before; i++) before = seqs[i] == s;
        if (before) continue;
        int first = poss[t], last = poss[t];
        for (int i = t; i < many; i++) {
            if (seqs[i] != s) continue;
            first = min(first, Seen(poss[i], window).first);
            last = max(last, poss[i]);
        }
        Seen seen[2] = {Seen(token[0] >= 0 && seqs[max(token[0], 0)] == s ? poss[max(token[0], 0)] : -1, window),
                        Seen(token[1] >= 0 && seqs[max(token[1], 0)] == s ? poss[max(token[1], 0)] : -1, window)};
        int j = first / KEYS, end = last / KEYS, slot = 0;
        load_block<HD, THREADS>(kv, kv + PANEL, c, s, head, j, last);
        cp_async_commit();
        for (; j <= end; j++, slot ^= 1) {
            cp_async_wait<0>();
            __syncthreads();  // block j is there, and nobody reads the one before
            u8 *k = kv + slot * 2 * PANEL, *v = k + PANEL;
            if (j < end) {
                u8* to = kv + (slot ^ 1) * 2 * PANEL;
                load_block<HD, THREADS>(to, to + PANEL, c, s, head, j + 1, last);
            }
            cp_async_commit();
            if (!__ballot_sync(FULL_WARP, seen[0].any(j) || seen[1].any(j))) continue;

            float x[KEYS / 16][2][4];
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
                for (int e = 0; e < 8; e++) x[n][e >> 2][e & 3] = 0.0f;
#pragma unroll
            for (int step = 0; step < HD / 16; step++) {
                unsigned hi[4], lo[4];
                R::along(hi, qh, warp * 16, step);
                R::along(lo, ql, warp * 16, step);
#pragma unroll
                for (int n = 0; n < KEYS / 16; n++) scores<HD>(x[n], hi, lo, k, n * 16, step);
            }
            float mj[2] = {-INFINITY, -INFINITY};
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
                for (int e = 0; e < 8; e++) {
                    int p = j * KEYS + n * 16 + (e >> 2) * 8 + (lane & 3) * 2 + (e & 1), h = e >> 1 & 1;
                    float y = score(x[n][e >> 2][e & 3], scale, seen[h](p));
                    x[n][e >> 2][e & 3] = y;
                    mj[h] = fmaxf(mj[h], y);
                }
            mj[0] = quad_max(mj[0]);
            mj[1] = quad_max(mj[1]);
            unsigned ph[KEYS / 16][4], pl[KEYS / 16][4];
            float lj[4] = {0, 0, 0, 0};
            ONES(ones);
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float* y = &x[n][e >> 1][(e & 1) * 2];
                    Split p = split(probability(y[0], mj[e & 1]), probability(y[1], mj[e & 1]));
                    ph[n][e] = p.hi;
                    pl[n][e] = p.lo;
                }
                mma_f16(lj, ph[n], ones);
                mma_f16(lj, pl[n], ones);
            }
            Joining join[2] = {Joining(m[0], mj[0]), Joining(m[1], mj[1])};
#pragma unroll
            for (int h = 0; h < 2; h++) {
                m[h] = join[h].m;
                l[h] = join[h](l[h], lj[2 * h]);
            }
#pragma unroll
            for (int n = 0; n < HD / 16; n++) {
                float oj[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
#pragma unroll
                for (int step = 0; step < KEYS / 16; step++) {
                    unsigned f[4];
                    R::across(f, v, n * 16, step * 16);
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        PAIR(b, f, e);
                        mma_f16(oj[e], ph[step], b);
                        mma_f16(oj[e], pl[step], b);
                    }
                }
#pragma unroll
                for (int e = 0; e < 8; e++) out[n * 2 + (e >> 2)][e & 3] = join[e >> 1 & 1](out[n * 2 + (e >> 2)][e & 3], oj[e >> 2][e & 3]);
            }
        }
        cp_async_wait<0>();
        __syncthreads();  // the panels are free for the next sequence
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (token[h] < 0) continue;
        float inverse = __fdiv_rn(1.0f, l[h]);
        float* to = o + ((size_t)(token0 + token[h]) * heads + head * group + row[h] % group) * c.hd;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            int col = n * 8 + (lane & 3) * 2;
            if (col < c.hd) *(float2*)(to + col) = make_float2(__fmul_rn(out[n][2 * h], inverse), __fmul_rn(out[n][2 * h + 1], inverse));
        }
    }
}

// Decoding: a block of 128 threads has the rows of one token and key head, at
// most 16, and every gridDim.x-th block of keys. Its warps share the keys of a
// block for the scores, and the columns of the values for the output. With
// gridDim.x > 1, the sums of each block of keys go to part, [token][head][block]
// rows of hd sums, and m and l to ml; decode_join joins them.
template <int HD>
__device__ __forceinline__ void decode(const float* q, Cache c, const int* seq, const int* pos, float* o, float* part, float* ml, int heads,
                                       int group, int window, float scale, int blocks) {
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
    load_block<HD, THREADS>(kv, kv + PANEL, c, s, head, j, seen.last);
    cp_async_commit();
    store_queries<HD, THREADS>(qh, ql, 16, q + (size_t)token * heads * c.hd, group, heads, group, head * group, c.hd);

    float out[NT][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) out[n][e] = 0.0f;
    for (; j <= end; j += gridDim.x, slot ^= 1) {
        cp_async_wait<0>();
        __syncthreads();
        u8 *k = kv + slot * 2 * PANEL, *v = k + PANEL;
        if (j + (int)gridDim.x <= end) {
            u8* to = kv + (slot ^ 1) * 2 * PANEL;
            load_block<HD, THREADS>(to, to + PANEL, c, s, head, j + gridDim.x, seen.last);
        }
        cp_async_commit();

        float x[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}}, mj[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int step = 0; step < HD / 16; step++) {
            unsigned hi[4], lo[4];
            R::along(hi, qh, 0, step);
            R::along(lo, ql, 0, step);
            scores<HD>(x, hi, lo, k, warp * 16, step);
        }
#pragma unroll
        for (int e = 0; e < 8; e++) {
            float y = score(x[e >> 2][e & 3], scale, seen(j * KEYS + warp * 16 + (e >> 2) * 8 + (lane & 3) * 2 + (e & 1)));
            x[e >> 2][e & 3] = y;
            mj[e >> 1 & 1] = fmaxf(mj[e >> 1 & 1], y);
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float y = quad_max(mj[h]);
            if ((lane & 3) == 0) most[warp * 16 + g + 8 * h] = y;
        }
        __syncthreads();
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float* y = most + g + 8 * h;
            mj[h] = fmaxf(fmaxf(y[0], y[16]), fmaxf(y[32], y[48]));
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float* y = &x[e >> 1][(e & 1) * 2];
            Split p = split(probability(y[0], mj[e & 1]), probability(y[1], mj[e & 1]));
            int r = g + 8 * (e & 1), at = (int)(Rows<64>::at(ph, r, warp * 2 + (e >> 1)) - ph) + (lane & 3) * 4;
            *(unsigned*)(ph + at) = p.hi;
            *(unsigned*)(pl + at) = p.lo;
        }
        __syncthreads();
        float oj[NT][4], lj[4] = {0, 0, 0, 0};
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) oj[n][e] = 0.0f;
        ONES(ones);
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++) {
            unsigned hi[4], lo[4];
            Rows<64>::along(hi, ph, 0, step);
            Rows<64>::along(lo, pl, 0, step);
            mma_f16(lj, hi, ones);
            mma_f16(lj, lo, ones);
#pragma unroll
            for (int n = 0; n < NT / 2; n++) {
                unsigned f[4];
                R::across(f, v, (warp * NT / 2 + n) * 16, step * 16);
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    PAIR(b, f, e);
                    mma_f16(oj[n * 2 + e], hi, b);
                    mma_f16(oj[n * 2 + e], lo, b);
                }
            }
        }
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
    if (gridDim.x > 1) return;
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

#define CACHED_KERNELS(HD)                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 2) attention_prefill_##HD(                                                     \
        const float* q, const u16* kc, const u16* vc, const int* seq, const int* pos, const int* table, float* o, int tokens,         \
        int heads, int group, int hd, int width, int size, int window, float scale) {                                                 \
        launch_dependents();                                                                                                          \
        grid_dependency_wait();                                                                                                       \
        Cache c = {kc, vc, table, width, size, heads / group * hd, hd};                                                               \
        prefill<HD>(q, c, seq, pos, o, tokens, heads, group, window, scale);                                                          \
    }                                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) attention_decode_##HD(                                                         \
        const float* q, const u16* kc, const u16* vc, const int* seq, const int* pos, const int* table, float* o, float* part,        \
        float* ml, int heads, int group, int hd, int width, int size, int window, float scale, int blocks) {                          \
        launch_dependents();                                                                                                          \
        grid_dependency_wait();                                                                                                       \
        Cache c = {kc, vc, table, width, size, heads / group * hd, hd};                                                               \
        decode<HD>(q, c, seq, pos, o, part, ml, heads, group, window, scale, blocks);                                                 \
    }

CACHED_KERNELS(64)
CACHED_KERNELS(128)

// attention_join joins the blocks of one head (x) of one token (y), a column a
// thread.
extern "C" __global__ void __launch_bounds__(128)
    attention_join(const float* part, const float* ml, const int* pos, float* o, int heads, int hd, int window, int blocks) {
    launch_dependents();
    grid_dependency_wait();
    int token = blockIdx.y, col = threadIdx.x;
    if (col >= hd) return;
    const Seen seen(pos[token], window);
    size_t row = (size_t)token * heads + blockIdx.x;
    part += row * blocks * hd + col;
    ml += row * blocks * 2;
    float m = -INFINITY, l = 0.0f, sum = 0.0f;
#pragma unroll 8
    for (int j = seen.first / KEYS; j <= seen.last / KEYS; j++) {
        float2 x = *(const float2*)(ml + 2 * j);
        Joining join(m, x.x);
        m = join.m;
        l = join(l, x.y);
        sum = join(sum, part[(size_t)j * hd]);
    }
    o[row * hd + col] = __fmul_rn(sum, __fdiv_rn(1.0f, l));
}

// attention_cached_rows is for caches of any type and heads of any width up to
// 256: a warp a row, 32 positions at a time, one a lane for the scores, and
// columns by lanes for the output.
enum { F32, BF16, F16 };

__device__ __forceinline__ float cached(const void* p, int type, size_t at) {
    if (type == F32) return ((const float*)p)[at];
    u16 h = ((const u16*)p)[at];
    return type == BF16 ? bf16_to_f32(h) : f16_to_f32(h);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_cached_rows(const float* q, const void* kc, const void* vc, const int* seq, const int* pos, const int* table, float* o,
                          long long rows, int heads, int group, int hd, int width, int size, int window, float scale, int type) {
    const int MOST = 8;  // columns a lane
    long long row = (long long)blockIdx.x * 4 + (threadIdx.x >> 5);
    if (row >= rows) return;
    const int lane = threadIdx.x & 31, token = (int)(row / heads), head = (int)(row % heads) / group, s = seq[token];
    const size_t pitch = (size_t)(heads / group) * hd;
    const Seen seen(pos[token], window);
    q += row * hd;
    float acc[MOST], m = -INFINITY, l = 0.0f;
#pragma unroll
    for (int i = 0; i < MOST; i++) acc[i] = 0.0f;
    for (int p0 = seen.first; p0 <= seen.last; p0 += 32) {
        int p = p0 + lane;
        size_t at = 0;
        float x = -INFINITY;
        if (p <= seen.last) {
            at = ((size_t)table[s * width + p / size] * size + p % size) * pitch + head * hd;
            float dot = 0.0f;
            for (int c = 0; c < hd; c++) dot = fmaf(q[c], cached(kc, type, at + c), dot);
            x = dot * scale;
        }
        float mj = fmaxf(m, warp_max(x)), old = exp2f(m - mj);
        x = exp2f(x - mj);
        m = mj;
        l = l * old + warp_sum(x);
#pragma unroll
        for (int i = 0; i < MOST; i++) acc[i] *= old;
        for (int i = 0; i < 32 && p0 + i <= seen.last; i++) {
            float w = __shfl_sync(FULL_WARP, x, i);
            size_t from = __shfl_sync(FULL_WARP, (unsigned long long)at, i);
#pragma unroll
            for (int c = 0; c < MOST; c++) {
                if (c * 32 + lane < hd) acc[c] = fmaf(w, cached(vc, type, from + c * 32 + lane), acc[c]);
            }
        }
    }
#pragma unroll
    for (int c = 0; c < MOST; c++) {
        if (c * 32 + lane < hd) o[row * hd + c * 32 + lane] = acc[c] / l;
    }
}
