// Attention of training in bf16 on tensor cores, sums in f32; heads of up to 128
// in whole chunks of 8. A block of 128 threads has 64 queries of a head, or 64
// keys of a key head, 16 rows a warp. Fragments of scores become operands of the
// next product without leaving registers. Sums run over keys, queries and heads
// in ascending order: nothing is added atomically.
//
// Forward: Dao 2023, "FlashAttention-2", algorithm 1; backward: its algorithm 2,
// split into a pass for the gradients of keys and values, which works on
// transposed scores, and one for queries.
//
// Masks of dropout are drawn anew in each pass, for the block that is copied
// meanwhile: a bit for a pair of tokens, by query and then by key.
#pragma once
#include "attend.cuh"
#include "flash.cuh"
#include "philox.cuh"

#define THREADS 128

// Step is what all kernels know of the step's tokens.
struct Step {
    const int *seq, *pos;
    const Span* spans;
    int tokens, window;

    // next is the first block from b on that the block's queries (keys: that
    // the block's keys) meet, or one beyond last.
    __device__ __forceinline__ int next_keys(const Span& mine, int b, int last) const {
        while (b <= last && !meets(mine, spans[b], window)) b++;
        return b;
    }
    __device__ __forceinline__ int next_queries(const Span& mine, int b, int last) const {
        while (b <= last && !meets(spans[b], mine, window)) b++;
        return b;
    }
    // whole says that every query of a block sees every key of another.
    __device__ __forceinline__ bool whole(const Span& q, const Span& k, int bq, int bk) const {
        return q.seq0 == q.seq1 && k.seq0 == q.seq0 && k.seq1 == q.seq0 && k.pos1 <= q.pos0 && (window <= 0 || q.pos1 - k.pos0 < window) &&
               (max(bq, bk) + 1) * TOKENS <= tokens;
    }
    __device__ __forceinline__ bool sees(int2 q, int2 k, int iq, int ik) const {
        return (q.x == k.x) & (k.y <= q.y) & ((window <= 0) | (q.y - k.y < window)) & (max(iq, ik) < tokens);
    }
    // load_places starts copying (seq, pos) of a block's tokens.
    __device__ __forceinline__ void load_places(int2* to, int block) const {
        if (threadIdx.x < TOKENS) {
            int t = block * TOKENS + threadIdx.x, n = t < tokens ? 4 : 0;
            cp_async4(&to[threadIdx.x].x, seq + (n ? t : 0), n);
            cp_async4(&to[threadIdx.x].y, pos + (n ? t : 0), n);
        }
    }
    __device__ __forceinline__ int2 place(int t) const { return t < tokens ? make_int2(seq[t], pos[t]) : make_int2(0, 0); }
};

// load_panel starts copying a block's rows of a head of p[tokens][heads][hd].
template <int HD>
__device__ __forceinline__ void load_panel(u8* panel, const u16* p, int block, int head, int tokens, int heads, int hd) {
    typedef Rows<HD> R;
#pragma unroll
    for (int i = 0; i < TOKENS * R::CHUNKS / THREADS; i++) {
        int x = threadIdx.x + i * THREADS, r = x / R::CHUNKS, c = x % R::CHUNKS, t = block * TOKENS + r;
        bool in = t < tokens && c * 8 < hd;
        cp_async16(R::at(panel, r, c), p + (in ? ((size_t)t * heads + head) * hd + c * 8 : 0), in ? 16 : 0);
    }
}

// store_rows writes a warp's 16 rows of fragments, through its rows of a panel.
template <int HD>
__device__ __forceinline__ void store_rows(u16* to, u8* panel, const float (&v)[HD / 8][4], float factor0, float factor1, int block, int head,
                                           int tokens, int heads, int hd) {
    typedef Rows<HD> R;
    const int lane = threadIdx.x & 31, row0 = threadIdx.x / 32 * 16;
#pragma unroll
    for (int n = 0; n < HD / 8; n++) {
        *(unsigned*)(R::at(panel, row0 + (lane >> 2), n) + (lane & 3) * 4) = bf16x2(v[n][0] * factor0, v[n][1] * factor0);
        *(unsigned*)(R::at(panel, row0 + (lane >> 2) + 8, n) + (lane & 3) * 4) = bf16x2(v[n][2] * factor1, v[n][3] * factor1);
    }
    __syncwarp();
#pragma unroll
    for (int x = lane; x < 16 * R::CHUNKS; x += 32) {
        int r = row0 + x / R::CHUNKS, c = x % R::CHUNKS, t = block * TOKENS + r;
        if (t < tokens && c * 8 < hd) *(uint4*)(to + ((size_t)t * heads + head) * hd + c * 8) = *(const uint4*)R::at(panel, r, c);
    }
}

// Whole keeps all probabilities.
struct Whole {
    static const bool drops = false;
    static const int BYTES = 0;
    __device__ __forceinline__ float scale() const { return 1.0f; }
    __device__ __forceinline__ void draw(u8*, int, int, int) const {}
};

// Masked keeps those whose bits a mask in shared memory has.
struct Masked {
    static const bool drops = true;
    static const int BYTES = TOKENS * TOKENS / 8;
    ProbsDropout p;
    __device__ __forceinline__ Masked(PROBS_DROPOUT) : p PROBS_DROPOUT_ARGS {}
    __device__ __forceinline__ float scale() const { return p.keep; }
    // draw makes the mask of a block of queries and one of keys.
    __device__ __forceinline__ void draw(u8* mask, int queries, int keys, int head) const {
        int q = threadIdx.x / 2, k = threadIdx.x % 2 * 4;
        unsigned bits = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) bits |= p.kept(queries * TOKENS + q, head, keys * TOKENS + (k + i) * 8) << 8 * i;
        *(unsigned*)(mask + q * 8 + k) = bits;
    }
};

template <int N>
__device__ __forceinline__ void zero(float (&v)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) v[n][e] = 0.0f;
}

// times_rows adds a bᵀ: 16 rows of a from row on, N*16 rows of b from row on.
template <int HD, int N>
__device__ __forceinline__ void times_rows(float (&s)[N * 2][4], u8* a, int row_a, u8* b, int row_b) {
#pragma unroll
    for (int step = 0; step < HD / 16; step++) {
        unsigned f[4];
        Rows<HD>::rows_a(f, a, row_a, step);
#pragma unroll
        for (int n = 0; n < N; n++) {
            unsigned g[4];
            Rows<HD>::rows_b(g, b, row_b + n * 16, step);
#pragma unroll
            for (int e = 0; e < 2; e++) {
                PAIR(w, g, e);
                mma_bf16(s[n * 2 + e], f, w);
            }
        }
    }
}

// narrowed turns fragments of 16 columns of s into a fragment of a.
__device__ __forceinline__ void narrowed(unsigned (&f)[4], const float (&s0)[4], const float (&s1)[4]) {
    f[0] = bf16x2(s0[0], s0[1]);
    f[1] = bf16x2(s0[2], s0[3]);
    f[2] = bf16x2(s1[0], s1[1]);
    f[3] = bf16x2(s1[2], s1[3]);
}

// times_columns adds a b, with a the fragment of 16 inner indices, rows row.. of
// panel b.
template <int HD>
__device__ __forceinline__ void times_columns(float (&acc)[HD / 8][4], const unsigned (&f)[4], u8* b, int row) {
#pragma unroll
    for (int n = 0; n < HD / 16; n++) {
        unsigned g[4];
        Rows<HD>::columns_b(g, b, n * 16, row);
#pragma unroll
        for (int e = 0; e < 2; e++) {
            PAIR(w, g, e);
            mma_bf16(acc[n * 2 + e], f, w);
        }
    }
}

template <int HD, typename Drop>
__device__ __forceinline__ void forward(const u16* q, const u16* k, const u16* v, Step st, const Meets* range, u16* o, float* lse, int heads,
                                        int group, int hd, float scale, Drop drop) {
    const int PANEL = TOKENS * HD * 2;
    DYNAMIC_SHARED(u8, shared);
    u8 *pq = shared, *kv = shared + PANEL;
    int2* places = (int2*)(shared + 5 * PANEL);  // of keys, for two slots
    u8* masks = (u8*)(places + 2 * TOKENS);      // for two slots
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, block = gridDim.x - 1 - blockIdx.x, head = blockIdx.y;
    const Span mine = st.spans[block];
    const Meets r = range[block];
    int b = st.next_keys(mine, r.key0, r.key1), slot = 0;
    load_panel<HD>(pq, q, block, head, st.tokens, heads, hd);
    load_panel<HD>(kv, k, b, head / group, st.tokens, heads / group, hd);
    load_panel<HD>(kv + PANEL, v, b, head / group, st.tokens, heads / group, hd);
    st.load_places(places, b);
    cp_async_commit();
    drop.draw(masks, block, b, head);

    const int t0 = block * TOKENS + warp * 16 + (lane >> 2);
    const int2 query[2] = {st.place(t0), st.place(t0 + 8)};
    float acc[HD / 8][4], m[2] = {-INFINITY, -INFINITY}, l[2] = {0, 0};
    zero(acc);
    while (b <= r.key1) {
        cp_async_wait<0>();
        __syncthreads();
        u8 *pk = kv + slot * 2 * PANEL, *pv = pk + PANEL;
        const int2* key = places + slot * TOKENS;
        const u8* mask = masks + slot * Drop::BYTES;
        int next = st.next_keys(mine, b + 1, r.key1);
        slot ^= 1;
        if (next <= r.key1) {
            load_panel<HD>(kv + slot * 2 * PANEL, k, next, head / group, st.tokens, heads / group, hd);
            load_panel<HD>(kv + slot * 2 * PANEL + PANEL, v, next, head / group, st.tokens, heads / group, hd);
            st.load_places(places + slot * TOKENS, next);
        }
        cp_async_commit();
        if (next <= r.key1) drop.draw(masks + slot * Drop::BYTES, block, next, head);
        float s[8][4];
        zero(s);
        times_rows<HD, 4>(s, pq, warp * 16, pk, 0);
        if (!st.whole(mine, st.spans[b], block, b)) {
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int c = n * 8 + (lane & 3) * 2 + (e & 1), h = e >> 1;
                    s[n][e] = st.sees(query[h], key[c], t0 + 8 * h, b * TOKENS + c) ? s[n][e] : -INFINITY;
                }
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float most = -INFINITY;
#pragma unroll
            for (int n = 0; n < 8; n++) most = fmaxf(most, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
            most = fmaxf(m[h], quad_max(most) * scale);
            float base = most == -INFINITY ? 0.0f : most, old = exp2_approx(m[h] - base);
            m[h] = most;
            l[h] *= old;
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    s[n][2 * h + e] = exp2_approx(fmaf(s[n][2 * h + e], scale, -base));
                    l[h] += s[n][2 * h + e];
                }
#pragma unroll
            for (int n = 0; n < HD / 8; n++) acc[n][2 * h] *= old, acc[n][2 * h + 1] *= old;
        }
        if (Drop::drops) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const uint2 bits = *(const uint2*)(mask + (warp * 16 + (lane >> 2) + 8 * h) * 8);
#pragma unroll
                for (int n = 0; n < 8; n++)
#pragma unroll
                    for (int e = 0; e < 2; e++)
                        if (!((n < 4 ? bits.x : bits.y) >> (n % 4 * 8 + (lane & 3) * 2 + e) & 1)) s[n][2 * h + e] = 0.0f;
            }
        }
#pragma unroll
        for (int n = 0; n < 4; n++) {
            unsigned f[4];
            narrowed(f, s[2 * n], s[2 * n + 1]);
            times_columns<HD>(acc, f, pv, n * 16);
        }
        b = next;
    }
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        l[h] = quad_sum(l[h]);
        inverse[h] = drop.scale() / l[h];
        if (t0 + 8 * h < st.tokens && (lane & 3) == 0) lse[(size_t)(t0 + 8 * h) * heads + head] = (m[h] + log2f(l[h])) * 0.69314718055994531f;
    }
    store_rows<HD>(o, pq, acc, inverse[0], inverse[1], block, head, st.tokens, heads, hd);
}

template <int HD, typename Drop>
__device__ __forceinline__ void backward_keys(const u16* q, const u16* k, const u16* v, const u16* d_o, const float* lse, const float* delta,
                                              Step st, const Meets* range, u16* dk, u16* dv, int heads, int group, int hd, float scale,
                                              float factor, Drop drop) {
    const int PANEL = TOKENS * HD * 2;
    DYNAMIC_SHARED(u8, shared);
    u8 *pk = shared, *pv = shared + PANEL, *qd = shared + 2 * PANEL;
    int2* places = (int2*)(shared + 6 * PANEL);  // of queries, for two slots
    float* tops = (float*)(places + 2 * TOKENS);  // lse and delta of queries, for two slots
    u8* masks = (u8*)(tops + 4 * TOKENS);         // for two slots
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, block = blockIdx.x, kvh = blockIdx.y;
    const Span mine = st.spans[block];
    const Meets r = range[block];
    const int first = st.next_queries(mine, r.query0, r.query1), h1 = (kvh + 1) * group;
    auto load = [&](int slot, int b, int h) {
        load_panel<HD>(qd + slot * 2 * PANEL, q, b, h, st.tokens, heads, hd);
        load_panel<HD>(qd + slot * 2 * PANEL + PANEL, d_o, b, h, st.tokens, heads, hd);
        st.load_places(places + slot * TOKENS, b);
        if (threadIdx.x < TOKENS) {
            int t = b * TOKENS + threadIdx.x, n = t < st.tokens ? 4 : 0;
            size_t from = n ? (size_t)t * heads + h : 0;
            cp_async4(tops + slot * 2 * TOKENS + threadIdx.x, lse + from, n);
            cp_async4(tops + slot * 2 * TOKENS + TOKENS + threadIdx.x, delta + from, n);
        }
    };
    int b = first, h = kvh * group, slot = 0;
    load_panel<HD>(pk, k, block, kvh, st.tokens, heads / group, hd);
    load_panel<HD>(pv, v, block, kvh, st.tokens, heads / group, hd);
    load(0, b, h);
    cp_async_commit();
    drop.draw(masks, b, block, h);

    const int t0 = block * TOKENS + warp * 16 + (lane >> 2);
    const int2 key[2] = {st.place(t0), st.place(t0 + 8)};
    float acck[HD / 8][4], accv[HD / 8][4];
    zero(acck);
    zero(accv);
    while (h < h1) {
        cp_async_wait<0>();
        __syncthreads();
        u8 *pq = qd + slot * 2 * PANEL, *pd = pq + PANEL;
        const int2* query = places + slot * TOKENS;
        const float *top = tops + slot * 2 * TOKENS, *del = top + TOKENS;
        const u8* mask = masks + slot * Drop::BYTES;
        int nb = st.next_queries(mine, b + 1, r.query1), nh = h;
        if (nb > r.query1) nb = first, nh++;
        slot ^= 1;
        if (nh < h1) load(slot, nb, nh);
        cp_async_commit();
        if (nh < h1) drop.draw(masks + slot * Drop::BYTES, nb, block, nh);
        const bool whole = st.whole(st.spans[b], mine, b, block);
#pragma unroll
        for (int half = 0; half < 2; half++) {  // 32 queries at a time
            float s[4][4], ds[4][4];
            zero(s);
            zero(ds);
            times_rows<HD, 2>(s, pk, warp * 16, pq, half * 32);
            times_rows<HD, 2>(ds, pv, warp * 16, pd, half * 32);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int c = half * 32 + n * 8 + (lane & 3) * 2;
                const float2 t = *(const float2*)(top + c), d = *(const float2*)(del + c);
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    s[n][e] = exp2_approx(fmaf(s[n][e], scale, -LOG2E * (e & 1 ? t.y : t.x)));
                    if (!Drop::drops) ds[n][e] -= e & 1 ? d.y : d.x;
                }
                if (!whole) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        if (!st.sees(query[c + (e & 1)], key[e >> 1], b * TOKENS + c + (e & 1), t0 + 8 * (e >> 1))) s[n][e] = 0.0f;
                    }
                }
                if (Drop::drops) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const bool kept = mask[(c + (e & 1)) * 8 + warp * 2 + (e >> 1)] >> (lane >> 2) & 1;
                        ds[n][e] = s[n][e] * ((kept ? ds[n][e] * drop.scale() : 0.0f) - (e & 1 ? d.y : d.x));
                        s[n][e] = kept ? s[n][e] : 0.0f;
                    }
                } else {
#pragma unroll
                    for (int e = 0; e < 4; e++) ds[n][e] *= s[n][e];
                }
            }
#pragma unroll
            for (int n = 0; n < 2; n++) {
                unsigned f[4];
                narrowed(f, s[2 * n], s[2 * n + 1]);
                times_columns<HD>(accv, f, pd, half * 32 + n * 16);
                narrowed(f, ds[2 * n], ds[2 * n + 1]);
                times_columns<HD>(acck, f, pq, half * 32 + n * 16);
            }
        }
        b = nb, h = nh;
    }
    store_rows<HD>(dk, pk, acck, factor, factor, block, kvh, st.tokens, heads / group, hd);
    store_rows<HD>(dv, pv, accv, drop.scale(), drop.scale(), block, kvh, st.tokens, heads / group, hd);
}

template <int HD, typename Drop>
__device__ __forceinline__ void backward_queries(const u16* q, const u16* k, const u16* v, const u16* d_o, const float* lse,
                                                 const float* delta, Step st, const Meets* range, u16* dq, int heads, int group, int hd,
                                                 float scale, float factor, Drop drop) {
    const int PANEL = TOKENS * HD * 2;
    DYNAMIC_SHARED(u8, shared);
    u8 *pq = shared, *pd = shared + PANEL, *kv = shared + 2 * PANEL;
    int2* places = (int2*)(shared + 6 * PANEL);
    u8* masks = (u8*)(places + 2 * TOKENS);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, block = gridDim.x - 1 - blockIdx.x, head = blockIdx.y;
    const Span mine = st.spans[block];
    const Meets r = range[block];
    auto load = [&](int slot, int b) {
        load_panel<HD>(kv + slot * 2 * PANEL, k, b, head / group, st.tokens, heads / group, hd);
        load_panel<HD>(kv + slot * 2 * PANEL + PANEL, v, b, head / group, st.tokens, heads / group, hd);
        st.load_places(places + slot * TOKENS, b);
    };
    int b = st.next_keys(mine, r.key0, r.key1), slot = 0;
    load_panel<HD>(pq, q, block, head, st.tokens, heads, hd);
    load_panel<HD>(pd, d_o, block, head, st.tokens, heads, hd);
    load(0, b);
    cp_async_commit();
    drop.draw(masks, block, b, head);

    const int t0 = block * TOKENS + warp * 16 + (lane >> 2);
    const int2 query[2] = {st.place(t0), st.place(t0 + 8)};
    float top[2], del[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        size_t from = (size_t)min(t0 + 8 * h, st.tokens - 1) * heads + head;
        top[h] = LOG2E * lse[from];
        del[h] = delta[from];
    }
    float acc[HD / 8][4];
    zero(acc);
    while (b <= r.key1) {
        cp_async_wait<0>();
        __syncthreads();
        u8 *pk = kv + slot * 2 * PANEL, *pv = pk + PANEL;
        const int2* key = places + slot * TOKENS;
        const u8* mask = masks + slot * Drop::BYTES;
        int next = st.next_keys(mine, b + 1, r.key1);
        slot ^= 1;
        if (next <= r.key1) load(slot, next);
        cp_async_commit();
        if (next <= r.key1) drop.draw(masks + slot * Drop::BYTES, block, next, head);
        const bool whole = st.whole(mine, st.spans[b], block, b);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float s[4][4], ds[4][4];
            zero(s);
            zero(ds);
            times_rows<HD, 2>(s, pq, warp * 16, pk, half * 32);
            times_rows<HD, 2>(ds, pd, warp * 16, pv, half * 32);
#pragma unroll
            for (int n = 0; n < 4; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) s[n][e] = exp2_approx(fmaf(s[n][e], scale, -top[e >> 1]));
                if (!whole) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const int c = half * 32 + n * 8 + (lane & 3) * 2 + (e & 1);
                        if (!st.sees(query[e >> 1], key[c], t0 + 8 * (e >> 1), b * TOKENS + c)) s[n][e] = 0.0f;
                    }
                }
                if (Drop::drops) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        const unsigned bits = mask[(warp * 16 + (lane >> 2) + 8 * (e >> 1)) * 8 + half * 4 + n];
                        ds[n][e] = bits >> ((lane & 3) * 2 + (e & 1)) & 1 ? ds[n][e] * drop.scale() : 0.0f;
                    }
                }
#pragma unroll
                for (int e = 0; e < 4; e++) ds[n][e] = s[n][e] * (ds[n][e] - del[e >> 1]);
            }
#pragma unroll
            for (int n = 0; n < 2; n++) {
                unsigned f[4];
                narrowed(f, ds[2 * n], ds[2 * n + 1]);
                times_columns<HD>(acc, f, pk, half * 32 + n * 16);
            }
        }
        b = next;
    }
    store_rows<HD>(dq, pq, acc, factor, factor, block, head, st.tokens, heads, hd);
}

#define FLASH_KERNELS(NAME, HD, BLOCKS, DROP, DROP_ARGS)                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) flash_##NAME##forward_##HD(                                        \
        const u16* q, const u16* k, const u16* v, const int* seq, const int* pos, const Span* spans, const Meets* range, u16* o,     \
        float* lse, int tokens, int heads, int group, int hd, int window, float scale DROP) {                                        \
        forward<HD>(q, k, v, {seq, pos, spans, tokens, window}, range, o, lse, heads, group, hd, scale, DROP_ARGS);                  \
    }                                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) flash_##NAME##backward_keys_##HD(                                       \
        const u16* q, const u16* k, const u16* v, const u16* d_o, const float* lse, const float* delta, const int* seq,              \
        const int* pos, const Span* spans, const Meets* range, u16* dk, u16* dv, int tokens, int heads, int group, int hd,           \
        int window, float scale, float factor DROP) {                                                                                \
        backward_keys<HD>(q, k, v, d_o, lse, delta, {seq, pos, spans, tokens, window}, range, dk, dv, heads, group, hd, scale,       \
                          factor, DROP_ARGS);                                                                                        \
    }                                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) flash_##NAME##backward_queries_##HD(                               \
        const u16* q, const u16* k, const u16* v, const u16* d_o, const float* lse, const float* delta, const int* seq,              \
        const int* pos, const Span* spans, const Meets* range, u16* dq, int tokens, int heads, int group, int hd, int window,        \
        float scale, float factor DROP) {                                                                                            \
        backward_queries<HD>(q, k, v, d_o, lse, delta, {seq, pos, spans, tokens, window}, range, dq, heads, group, hd, scale,        \
                             factor, DROP_ARGS);                                                                                     \
    }
