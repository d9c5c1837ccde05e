// Attention of training in f32, whatever the element type, for any width of
// heads up to 128; and what all attention of training starts with.
//
// A block of 256 threads has 64 queries of a head, or 64 keys of a key head.
// Products are fused multiply-adds in f32 over panels in shared memory; thread
// (x, y) of 16x16 has rows y+16i and columns x+16j. Sums run over keys, queries
// and heads in ascending order: nothing is added atomically.
//
// Forward: Dao 2023, "FlashAttention-2", algorithm 1; backward: its algorithm 2,
// split into a pass for the gradients of keys and values and one for queries.
#include "attend.cuh"

enum { F32, BF16 };

__device__ __forceinline__ float element(const void* p, int type, size_t i) {
    return type == F32 ? ((const float*)p)[i] : bf16_to_f32(((const u16*)p)[i]);
}

__device__ __forceinline__ void put(void* p, int type, size_t i, float v) {
    if (type == F32)
        ((float*)p)[i] = v;
    else
        ((u16*)p)[i] = f32_to_bf16(v);
}

// attention_spans finds the span of each block of tokens; 64 threads.
extern "C" __global__ void __launch_bounds__(64) attention_spans(const int* seq, const int* pos, Span* spans, int tokens) {
    __shared__ int part[2][4];
    int i = min((int)(blockIdx.x * TOKENS + threadIdx.x), tokens - 1);
    int v[4] = {seq[i], -seq[i], pos[i], -pos[i]};  // minima
#pragma unroll
    for (int e = 0; e < 4; e++) {
        for (int o = 16; o > 0; o >>= 1) v[e] = min(v[e], __shfl_xor_sync(FULL_WARP, v[e], o));
        if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5][e] = v[e];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        Span s = {min(part[0][0], part[1][0]), -min(part[0][1], part[1][1]), min(part[0][2], part[1][2]), -min(part[0][3], part[1][3])};
        spans[blockIdx.x] = s;
    }
}

// attention_meets finds which blocks meet each block; 128 threads.
extern "C" __global__ void __launch_bounds__(128) attention_meets(const Span* spans, Meets* out, int blocks, int window) {
    __shared__ int part[4][4];
    const Span me = spans[blockIdx.x];
    int v[4] = {blocks, 1, blocks, 1};  // minima: first and negative last
    for (int b = threadIdx.x; b < blocks; b += blockDim.x) {
        Span s = spans[b];
        if (meets(me, s, window)) v[0] = min(v[0], b), v[1] = min(v[1], -b);
        if (meets(s, me, window)) v[2] = min(v[2], b), v[3] = min(v[3], -b);
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        for (int o = 16; o > 0; o >>= 1) v[e] = min(v[e], __shfl_xor_sync(FULL_WARP, v[e], o));
        if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5][e] = v[e];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < 4; w++)
            for (int e = 0; e < 4; e++) part[0][e] = min(part[0][e], part[w][e]);
        Meets m = {part[0][0], -part[0][1], part[0][2], -part[0][3]};
        out[blockIdx.x] = m;
    }
}

// attention_delta sums do*o over each head of each token, a warp each.
extern "C" __global__ void __launch_bounds__(128)
    attention_delta(const void* o, const void* d_o, float* delta, long long rows, int hd, int type) {
    long long row = (long long)blockIdx.x * 4 + (threadIdx.x >> 5);
    if (row >= rows) return;
    float sum = 0.0f;
    for (int c = threadIdx.x & 31; c < hd; c += 32) sum = fmaf(element(o, type, row * hd + c), element(d_o, type, row * hd + c), sum);
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0) delta[row] = sum;
}

// A Matrix is [tokens][heads][hd] in device memory, seen as the rows of a head.
struct Matrix {
    void* p;
    int type, tokens, heads, hd;

    __device__ __forceinline__ size_t at(int token, int head) const { return ((size_t)token * heads + head) * hd; }

    // load copies a block's rows to a panel of width columns, zeros beyond.
    __device__ __forceinline__ void load(float* panel, int block, int head, int width) const {
        for (int x = threadIdx.x; x < TOKENS * width; x += blockDim.x) {
            int r = x / width, c = x % width, t = block * TOKENS + r;
            panel[r * (width + 1) + c] = t < tokens && c < hd ? element(p, type, at(t, head) + c) : 0.0f;
        }
    }
};

// rows_by_rows adds a bᵀ of two panels of width columns to acc.
__device__ __forceinline__ void rows_by_rows(float (&acc)[4][4], const float* a, const float* b, int width) {
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, pitch = width + 1;
#pragma unroll 4
    for (int c = 0; c < width; c++) {
        float u[4], v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) u[i] = a[(y + 16 * i) * pitch + c], v[i] = b[(x + 16 * i) * pitch + c];
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) acc[i][j] = fmaf(u[i], v[j], acc[i][j]);
    }
}

#define SQUARE (TOKENS + 1)  // pitch of a panel of 64 x 64
#define WIDE 8               // columns of a thread: up to 128

// squares_by_rows adds s b, or sᵀ b, of a square panel and one of width columns.
template <bool TRANSPOSED>
__device__ __forceinline__ void squares_by_rows(float (&acc)[4][WIDE], const float* s, const float* b, int width) {
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, pitch = width + 1;
    for (int k = 0; k < TOKENS; k++) {
        float u[4], v[WIDE];
#pragma unroll
        for (int i = 0; i < 4; i++) u[i] = TRANSPOSED ? s[k * SQUARE + y + 16 * i] : s[(y + 16 * i) * SQUARE + k];
#pragma unroll
        for (int j = 0; j < WIDE; j++) v[j] = j * 16 < width ? b[k * pitch + x + 16 * j] : 0.0f;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < WIDE; j++) acc[i][j] = fmaf(u[i], v[j], acc[i][j]);
    }
}

__device__ __forceinline__ void put_square(float* s, const float (&v)[4][4]) {
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[(y + 16 * i) * SQUARE + x + 16 * j] = v[i][j];
}

__device__ __forceinline__ void put_rows(const Matrix& m, int block, int head, const float (&v)[4][WIDE], const float* factor) {
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int t = block * TOKENS + y + 16 * i;
        if (t >= m.tokens) continue;
#pragma unroll
        for (int j = 0; j < WIDE; j++) {
            if (x + 16 * j < m.hd) put(m.p, m.type, m.at(t, head) + x + 16 * j, v[i][j] * factor[i]);
        }
    }
}

template <int N>
__device__ __forceinline__ void zero(float (&v)[4][N]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < N; j++) v[i][j] = 0.0f;
}

__device__ __forceinline__ int padded(int hd) { return (hd + 15) / 16 * 16; }

// Blocks of queries go from the last to the first: the last ones see the most.
extern "C" __global__ void __launch_bounds__(256)
    attention_forward(const void* q, const void* k, const void* v, const int* seq, const int* pos, const Span* spans, const Meets* range,
                      void* o, float* lse, int tokens, int heads, int group, int hd, int window, float scale, int type) {
    DYNAMIC_SHARED(float, shared);
    const int width = padded(hd), panel = TOKENS * (width + 1), x = threadIdx.x & 15, y = threadIdx.x >> 4;
    const int block = gridDim.x - 1 - blockIdx.x, head = blockIdx.y, kv = heads / group;
    float *pq = shared, *pk = pq + panel, *pv = pk + panel, *ps = pv + panel;
    Matrix mq = {(void*)q, type, tokens, heads, hd}, mk = {(void*)k, type, tokens, kv, hd}, mv = {(void*)v, type, tokens, kv, hd};
    mq.load(pq, block, head, width);
    Token query[4];
    float acc[4][WIDE], m[4], l[4];
    zero(acc);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        query[i] = Token(seq, pos, block * TOKENS + y + 16 * i, tokens);
        m[i] = -INFINITY, l[i] = 0.0f;
    }
    const Span mine = spans[block];
    const Meets r = range[block];
    for (int b = r.key0; b <= r.key1; b++) {
        if (!meets(mine, spans[b], window)) continue;
        __syncthreads();  // nobody reads the block before
        mk.load(pk, b, head / group, width);
        mv.load(pv, b, head / group, width);
        __syncthreads();
        float s[4][4];
        zero(s);
        rows_by_rows(s, pq, pk, width);
        Token key[4];
#pragma unroll
        for (int j = 0; j < 4; j++) key[j] = Token(seq, pos, b * TOKENS + x + 16 * j, tokens);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float most = m[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s[i][j] = query[i].sees(key[j], window) ? s[i][j] * scale : -INFINITY;
                most = fmaxf(most, s[i][j]);
            }
            for (int d = 8; d > 0; d >>= 1) most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, d));
            float base = most == -INFINITY ? 0.0f : most, old = exp2f(m[i] - base), sum = 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                s[i][j] = exp2f(s[i][j] - base);
                sum += s[i][j];
            }
            for (int d = 8; d > 0; d >>= 1) sum += __shfl_xor_sync(FULL_WARP, sum, d);
            m[i] = most;
            l[i] = l[i] * old + sum;
#pragma unroll
            for (int j = 0; j < WIDE; j++) acc[i][j] *= old;
        }
        put_square(ps, s);
        __syncthreads();
        squares_by_rows<false>(acc, ps, pv, width);
    }
    float inverse[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        inverse[i] = 1.0f / l[i];
        if (query[i].real && x == 0) lse[(size_t)(block * TOKENS + y + 16 * i) * heads + head] = (m[i] + log2f(l[i])) * 0.69314718055994531f;
    }
    put_rows({o, type, tokens, heads, hd}, block, head, acc, inverse);
}

// Gradient is what both passes backward compute for a block of queries and one
// of keys: p = exp(s - lse) and ds = p (do vᵀ - delta).
struct Gradient {
    const float *lse, *delta;
    const int *seq, *pos;
    int tokens, heads, window;
    float scale;  // of scores, in powers of two

    __device__ __forceinline__ void operator()(float (&p)[4][4], float (&ds)[4][4], const float* pq, const float* pk, const float* pv,
                                               const float* pd, int queries, int keys, int head, int width) const {
        const int x = threadIdx.x & 15, y = threadIdx.x >> 4;
        zero(p);
        zero(ds);
        rows_by_rows(p, pq, pk, width);
        rows_by_rows(ds, pd, pv, width);
        Token key[4];
#pragma unroll
        for (int j = 0; j < 4; j++) key[j] = Token(seq, pos, keys * TOKENS + x + 16 * j, tokens);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = queries * TOKENS + y + 16 * i;
            Token query(seq, pos, t, tokens);
            float top = query.real ? lse[(size_t)t * heads + head] * 1.44269504088896341f : 0.0f;
            float d = query.real ? delta[(size_t)t * heads + head] : 0.0f;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                p[i][j] = query.sees(key[j], window) ? exp2f(p[i][j] * scale - top) : 0.0f;
                ds[i][j] = p[i][j] * (ds[i][j] - d);
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(256)
    attention_backward_keys(const void* q, const void* k, const void* v, const void* d_o, const float* lse, const float* delta,
                            const int* seq, const int* pos, const Span* spans, const Meets* range, void* dk, void* dv, int tokens,
                            int heads, int group, int hd, int window, float scale, float factor, int type) {
    DYNAMIC_SHARED(float, shared);
    const int width = padded(hd), panel = TOKENS * (width + 1), block = blockIdx.x, kvh = blockIdx.y, kv = heads / group;
    float *pq = shared, *pk = pq + panel, *pv = pk + panel, *pd = pv + panel, *ps = pd + panel, *pds = ps + TOKENS * SQUARE;
    Matrix mq = {(void*)q, type, tokens, heads, hd}, md = {(void*)d_o, type, tokens, heads, hd};
    Matrix mk = {(void*)k, type, tokens, kv, hd}, mv = {(void*)v, type, tokens, kv, hd};
    mk.load(pk, block, kvh, width);
    mv.load(pv, block, kvh, width);
    Gradient gradient = {lse, delta, seq, pos, tokens, heads, window, scale};
    float acck[4][WIDE], accv[4][WIDE];
    zero(acck);
    zero(accv);
    const Span mine = spans[block];
    const Meets r = range[block];
    for (int h = kvh * group; h < (kvh + 1) * group; h++) {
        for (int b = r.query0; b <= r.query1; b++) {
            if (!meets(spans[b], mine, window)) continue;
            __syncthreads();
            mq.load(pq, b, h, width);
            md.load(pd, b, h, width);
            __syncthreads();
            float p[4][4], ds[4][4];
            gradient(p, ds, pq, pk, pv, pd, b, block, h, width);
            put_square(ps, p);
            put_square(pds, ds);
            __syncthreads();
            squares_by_rows<true>(accv, ps, pd, width);
            squares_by_rows<true>(acck, pds, pq, width);
        }
    }
    float one[4] = {1, 1, 1, 1}, by[4] = {factor, factor, factor, factor};
    put_rows({dv, type, tokens, kv, hd}, block, kvh, accv, one);
    put_rows({dk, type, tokens, kv, hd}, block, kvh, acck, by);
}

extern "C" __global__ void __launch_bounds__(256)
    attention_backward_queries(const void* q, const void* k, const void* v, const void* d_o, const float* lse, const float* delta,
                               const int* seq, const int* pos, const Span* spans, const Meets* range, void* dq, int tokens, int heads,
                               int group, int hd, int window, float scale, float factor, int type) {
    DYNAMIC_SHARED(float, shared);
    const int width = padded(hd), panel = TOKENS * (width + 1), block = gridDim.x - 1 - blockIdx.x, head = blockIdx.y, kv = heads / group;
    float *pq = shared, *pk = pq + panel, *pv = pk + panel, *pd = pv + panel, *pds = pd + panel;
    Matrix mq = {(void*)q, type, tokens, heads, hd}, md = {(void*)d_o, type, tokens, heads, hd};
    Matrix mk = {(void*)k, type, tokens, kv, hd}, mv = {(void*)v, type, tokens, kv, hd};
    mq.load(pq, block, head, width);
    md.load(pd, block, head, width);
    Gradient gradient = {lse, delta, seq, pos, tokens, heads, window, scale};
    float acc[4][WIDE];
    zero(acc);
    const Span mine = spans[block];
    const Meets r = range[block];
    for (int b = r.key0; b <= r.key1; b++) {
        if (!meets(mine, spans[b], window)) continue;
        __syncthreads();
        mk.load(pk, b, head / group, width);
        mv.load(pv, b, head / group, width);
        __syncthreads();
        float p[4][4], ds[4][4];
        gradient(p, ds, pq, pk, pv, pd, block, b, head, width);
        put_square(pds, ds);
        __syncthreads();
        squares_by_rows<false>(acc, pds, pk, width);
    }
    float by[4] = {factor, factor, factor, factor};
    put_rows({dq, type, tokens, heads, hd}, block, head, acc, by);
}
