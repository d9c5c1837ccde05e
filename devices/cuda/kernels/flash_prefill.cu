// Attention of many tokens over a paged cache; see flash_cached.cuh. The rotary
// embedding may be part of it: of queries in the attention itself, of keys in a
// kernel before it that appends to the cache. Both have the bits of rope_append.
#include "flash_cached.cuh"

// Turn is a rotation by the angles of a position.
struct Turn {
    float cosine[8], sine[8];

    // of a table with `half` cosines, then sines, for each position; of 8 from i on.
    __device__ __forceinline__ Turn(const float* angles, int pos, int half, int i) {
        const float* from = angles + (size_t)pos * 2 * half + i;
#pragma unroll
        for (int e = 0; e < 8; e += 4) {
            float4 c = *(const float4*)(from + e), s = *(const float4*)(from + half + e);
            cosine[e] = c.x, cosine[e + 1] = c.y, cosine[e + 2] = c.z, cosine[e + 3] = c.w;
            sine[e] = s.x, sine[e + 1] = s.y, sine[e + 2] = s.z, sine[e + 3] = s.w;
        }
    }

    // pair rotates elements i and half+i of a head.
    __device__ __forceinline__ void pair(float& a, float& b, int e) const {
        float u = a, w = b;
        a = __fadd_rn(__fmul_rn(u, cosine[e]), -__fmul_rn(w, sine[e]));
        b = __fadd_rn(__fmul_rn(w, cosine[e]), __fmul_rn(u, sine[e]));
    }
};

__device__ __forceinline__ void load8(const float* from, float (&v)[8]) {
    float4 a = *(const float4*)from, b = *(const float4*)(from + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

// store_turned is store_queries for queries that are rotated first; half a head is
// whole chunks.
template <int HD, int THREADS>
__device__ __forceinline__ void store_turned(u8* hi, u8* lo, int rows, const float* q, int count, int heads, int group, int first, int hd,
                                             const float* angles, const int* pos) {
    typedef Rows<HD> R;
    const int half = hd / 2, there = half / 8;  // chunks of half a head
    auto put = [&](int r, int chunk, const float (&v)[8]) {
        Split s[4] = {split(v[0], v[1]), split(v[2], v[3]), split(v[4], v[5]), split(v[6], v[7])};
        *(uint4*)R::at(hi, r, chunk) = make_uint4(s[0].hi, s[1].hi, s[2].hi, s[3].hi);
        *(uint4*)R::at(lo, r, chunk) = make_uint4(s[0].lo, s[1].lo, s[2].lo, s[3].lo);
    };
    for (int x = threadIdx.x; x < rows * R::CHUNKS / 2; x += THREADS) {
        const int r = x / (R::CHUNKS / 2), chunk = x % (R::CHUNKS / 2);
        float a[8] = {0, 0, 0, 0, 0, 0, 0, 0}, b[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        if (chunk >= there) {  // beyond the head
            put(r, 2 * chunk, a), put(r, 2 * chunk + 1, b);
            continue;
        }
        if (r < count) {
            const float* from = q + ((size_t)(r / group) * heads + first + r % group) * hd + chunk * 8;
            load8(from, a), load8(from + half, b);
            const Turn turn(angles, pos[r / group], half, chunk * 8);
#pragma unroll
            for (int e = 0; e < 8; e++) turn.pair(a[e], b[e], e);
        }
        put(r, chunk, a), put(r, chunk + there, b);
    }
}

// Places is where positions of blocks of keys lie in the cache: threads look one up
// each, a block ahead of its copies, in turns of two tables in shared memory.
struct Places {
    int* rows;
    int next;

    __device__ __forceinline__ int* of(int j) const { return rows + (j & 1) * KEYS; }

    // look finds rows of the cache for block j of a sequence: -1 beyond last.
    __device__ __forceinline__ void look(const Cache& c, int seq, int j, int last) {
        const int p = j * KEYS + threadIdx.x;
        next = -1;
        if (threadIdx.x < KEYS && p <= last) next = c.table[seq * c.width + p / c.size] * c.size + p % c.size;
    }

    // keep writes them down, for all threads after a barrier.
    __device__ __forceinline__ void keep(int j) {
        if (threadIdx.x < KEYS) of(j)[threadIdx.x] = next;
    }
};

// load_rows starts copying keys and values of a key head from these rows; what has
// none, and columns beyond hd, become zero.
template <int HD, int THREADS>
__device__ __forceinline__ void load_rows(u8* k, u8* v, const Cache& c, int head, const int* rows) {
    typedef Rows<HD> R;
    const int EACH_ROWS = THREADS / R::CHUNKS;  // whole eights, so that chunks lie alike in all of a thread's rows
    const int r = threadIdx.x / R::CHUNKS, chunk = threadIdx.x % R::CHUNKS;
    const u8 *kc = (const u8*)(c.kc + head * c.hd + chunk * 8), *vc = (const u8*)(c.vc + head * c.hd + chunk * 8);
    u8 *kto = R::at(k, r, chunk), *vto = R::at(v, r, chunk);
    const bool there = chunk * 8 < c.hd;
    const unsigned pitch = 2 * c.pitch;  // bytes
    int row[KEYS / EACH_ROWS];
#pragma unroll
    for (int i = 0; i < KEYS / EACH_ROWS; i++) row[i] = rows[r + i * EACH_ROWS];
#pragma unroll
    for (int i = 0; i < KEYS / EACH_ROWS; i++) {
        const int n = row[i] >= 0 && there ? 16 : 0;
        const unsigned long long at = (unsigned long long)(unsigned)max(row[i], 0) * pitch;
        cp_async16(kto + i * EACH_ROWS * R::BYTES, kc + at, n);
        cp_async16(vto + i * EACH_ROWS * R::BYTES, vc + at, n);
    }
}

// Prefill: a block of 128 threads has 64 rows of one key head, 16 a warp: all
// heads of the group for as many consecutive tokens as fit. Tokens of several
// sequences are taken sequence by sequence. The blocks of all heads that have most
// keys come first, so that none of them is left alone at the end.
template <int HD>
__device__ __forceinline__ void prefill(const float* q, Cache c, const int* seq, const int* pos, float* o, int tokens, int heads,
                                        int group, int window, float scale, const float* angles) {
    typedef Rows<HD> R;
    const int THREADS = 128, ROWS = 64, PANEL = 64 * R::BYTES;
    DYNAMIC_SHARED(u8, shared);
    u8 *qh = shared, *ql = shared + PANEL, *kv = shared + 2 * PANEL;
    int* seqs = (int*)(shared + 6 * PANEL);
    int* poss = seqs + ROWS;
    Places places = {poss + ROWS, -1};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x;
    const int fit = ROWS / group, token0 = (gridDim.y - 1 - blockIdx.y) * fit, many = min(fit, tokens - token0);

    for (int i = threadIdx.x; i < many; i += THREADS) {
        seqs[i] = seq[token0 + i];
        poss[i] = pos[token0 + i];
    }
    q += (size_t)token0 * heads * c.hd;
    if (angles) {
        __syncthreads();
        store_turned<HD, THREADS>(qh, ql, ROWS, q, many * group, heads, group, head * group, c.hd, angles, poss);
    } else {
        store_queries<HD, THREADS>(qh, ql, ROWS, q, many * group, heads, group, head * group, c.hd);
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
        places.look(c, s, j, last);
        places.keep(j);
        __syncthreads();
        load_rows<HD, THREADS>(kv, kv + PANEL, c, head, places.of(j));
        cp_async_commit();
        places.look(c, s, j + 1, last);
        for (; j <= end; j++, slot ^= 1) {
            cp_async_wait<0>();
            places.keep(j + 1);
            __syncthreads();  // block j is there, and nobody reads the one before
            u8 *k = kv + slot * 2 * PANEL, *v = k + PANEL;
            if (j < end) {
                u8* to = kv + (slot ^ 1) * 2 * PANEL;
                load_rows<HD, THREADS>(to, to + PANEL, c, head, places.of(j + 1));
            }
            cp_async_commit();
            places.look(c, s, j + 2, last);
            if (!__ballot_sync(FULL_WARP, seen[0].any(j) || seen[1].any(j))) continue;

            float x[KEYS / 8][4];
#pragma unroll
            for (int step = 0; step < HD / 16; step++) {
                unsigned hi[4], lo[4];
                R::rows_a(hi, qh, warp * 16, step);
                R::rows_a(lo, ql, warp * 16, step);
                scores<HD, KEYS / 16>(x, hi, lo, k, 0, step);
            }
            const bool whole = __all_sync(FULL_WARP, seen[0].whole(j) && seen[1].whole(j));
            float mj[2] = {-INFINITY, -INFINITY};
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) x[n][e] = __fmul_rn(x[n][e], scale);
            if (!whole) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) x[n][e] = seen[e >> 1](j * KEYS + n * 8 + (lane & 3) * 2 + (e & 1)) ? x[n][e] : -INFINITY;
            }
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) mj[e >> 1] = fmaxf(mj[e >> 1], x[n][e]);
            mj[0] = quad_max(mj[0]);
            mj[1] = quad_max(mj[1]);
            unsigned ph[KEYS / 16][4], pl[KEYS / 16][4];
            const float base[2] = {above(mj[0]), above(mj[1])};
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const float* y = &x[n * 2 + (e >> 1)][(e & 1) * 2];
                    Split p = split(probability(y[0], base[e & 1]), probability(y[1], base[e & 1]));
                    ph[n][e] = p.hi;
                    pl[n][e] = p.lo;
                }
            Joining join[2] = {Joining(m[0], mj[0]), Joining(m[1], mj[1])};
            const bool same = __all_sync(FULL_WARP, join[0].old == 1.0f && join[1].old == 1.0f);
            if (!same) {
#pragma unroll
                for (int n = 0; n < HD / 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) out[n][e] = __fmul_rn(out[n][e], join[e >> 1].old);
            }
            float lj[4];
            ONES(ones);
            const int N = HD / 16 < 4 ? HD / 16 : 4;  // columns at a time, in 16s
#pragma unroll
            for (int c = 0; c < HD / 16; c += N) {
                float oj[N * 2][4];
#pragma unroll
                for (int step = 0; step < KEYS / 16; step++) {
                    if (c == 0 && step == 0) mma_f16_first(lj, ph[step], ones);
                    if (c == 0 && step > 0) mma_f16(lj, ph[step], ones);
                    outputs<HD, N>(oj, ph[step], pl[step], v, c * 16, step * 16);
                    if (c == 0) mma_f16(lj, pl[step], ones);
                }
#pragma unroll
                for (int n = 0; n < N * 2; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) out[c * 2 + n][e] = join[e >> 1].scaled(out[c * 2 + n][e], oj[n][e]);
            }
#pragma unroll
            for (int h = 0; h < 2; h++) {
                m[h] = join[h].m;
                l[h] = join[h](l[h], lj[2 * h]);
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

#define PREFILL(HD)                                                                                                            \
    extern "C" __global__ void __launch_bounds__(128, 2) attention_prefill_##HD(                                              \
        const float* q, const u16* kc, const u16* vc, const int* seq, const int* pos, const int* table, float* o, int tokens,  \
        int heads, int group, int hd, int width, int size, int window, float scale, const float* angles) {                     \
        Cache c = {kc, vc, table, width, size, heads / group * hd, hd};                                                        \
        prefill<HD>(q, c, seq, pos, o, tokens, heads, group, window, scale, angles);                                           \
    }

PREFILL(64)
PREFILL(128)

// attention_append: cache rows of (seq, pos) = rope(k), v, a block for each token;
// half a head is whole eights. Positions outside the cache are left out.
extern "C" __global__ void __launch_bounds__(128)
    attention_append(u16* kc, u16* vc, const float* k, const float* v, const int* seq, const int* pos, const int* table, const float* angles,
                     int d, int half, int sequences, int width, int blocks, int size) {
    const int token = blockIdx.x, s = seq[token], p = pos[token];
    if (s < 0 || s >= sequences || p < 0 || p >= width * size) return;
    const int block = table[s * width + p / size];
    if (block < 0 || block >= blocks) return;
    const size_t to = ((size_t)block * size + p % size) * d;
    k += (size_t)token * d;
    v += (size_t)token * d;
    auto put = [&](u16* at, const float (&x)[8]) {
        *(uint4*)at = make_uint4(f16x2(x[0], x[1]), f16x2(x[2], x[3]), f16x2(x[4], x[5]), f16x2(x[6], x[7]));
    };
    for (int i = threadIdx.x; i < d / 16 + d / 8; i += blockDim.x) {
        float a[8], b[8];
        if (i >= d / 16) {
            const int e = (i - d / 16) * 8;
            load8(v + e, a);
            put(vc + to + e, a);
            continue;
        }
        const int head = i * 8 / half, e = i * 8 % half, at = head * 2 * half + e;
        load8(k + at, a), load8(k + at + half, b);
        const Turn turn(angles, p, half, e);
#pragma unroll
        for (int x = 0; x < 8; x++) turn.pair(a[x], b[x], x);
        put(kc + to + at, a), put(kc + to + at + half, b);
    }
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
