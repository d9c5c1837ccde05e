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
#pragma once
#include "flash.cuh"

// Cache is the paged cache: position p of sequence s is row
// table[s][p / size] * size + p % size of kc and vc, with pitch elements.
struct Cache {
    const u16 *kc, *vc;
    const int* table;
    int width, size, pitch, hd;
};

// load_block starts copying block j of sequence seq and a key head: positions up
// to last; the others, and columns beyond hd, become zero. t is one of the THREADS.
template <int HD, int THREADS>
__device__ __forceinline__ void load_block(u8* k, u8* v, const Cache& c, int seq, int head, int j, int last, int t) {
    typedef Rows<HD> R;
    const int EACH_ROWS = THREADS / R::CHUNKS, TIMES = KEYS / EACH_ROWS;
    const int r = t / R::CHUNKS, chunk = t % R::CHUNKS, p = j * KEYS + r;
    const int* page = c.table + seq * c.width + p / c.size;
    const size_t from = head * c.hd + chunk * 8;
    // All of the table first: a copy may not pass a load.
    size_t at[TIMES];
#pragma unroll
    for (int i = 0, slot = p % c.size; i < TIMES; i++) {
        bool in = p + i * EACH_ROWS <= last && chunk * 8 < c.hd;
        at[i] = in ? ((size_t)*page * c.size + slot) * c.pitch + from : ~(size_t)0;
        for (slot += EACH_ROWS; slot >= c.size; slot -= c.size) page++;
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        bool in = at[i] != ~(size_t)0;
        size_t x = in ? at[i] : 0;
        cp_async16(R::at(k, r + i * EACH_ROWS, chunk), c.kc + x, in ? 16 : 0);
        cp_async16(R::at(v, r + i * EACH_ROWS, chunk), c.vc + x, in ? 16 : 0);
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

// scores adds the products of 16 rows, split in hi and lo, with N*16 keys from
// key on to s, fragments of eight keys: of one step, first those with hi, so that
// consecutive products do not wait for each other. Step 0 is the first.
template <int HD, int N>
__device__ __forceinline__ void scores(float (&s)[N * 2][4], const unsigned (&hi)[4], const unsigned (&lo)[4], u8* k, int key, int step) {
    unsigned f[N][4];
#pragma unroll
    for (int n = 0; n < N; n++) Rows<HD>::rows_b(f[n], k, key + n * 16, step);
#pragma unroll
    for (int n = 0; n < N * 2; n++) {
        PAIR(b, f[n / 2], n % 2);
        if (step == 0)
            mma_f16_first(s[n], hi, b);
        else
            mma_f16(s[n], hi, b);
    }
#pragma unroll
    for (int n = 0; n < N * 2; n++) {
        PAIR(b, f[n / 2], n % 2);
        mma_f16(s[n], lo, b);
    }
}

// outputs adds the products of probabilities, split in hi and lo, of 16 keys from
// key on with N*16 columns of the values from col on to o. Key 0 is the first.
template <int HD, int N>
__device__ __forceinline__ void outputs(float (&o)[N * 2][4], const unsigned (&hi)[4], const unsigned (&lo)[4], u8* v, int col, int key) {
    unsigned f[N][4];
#pragma unroll
    for (int n = 0; n < N; n++) Rows<HD>::columns_b(f[n], v, col + n * 16, key);
#pragma unroll
    for (int n = 0; n < N * 2; n++) {
        PAIR(b, f[n / 2], n % 2);
        if (key == 0)
            mma_f16_first(o[n], hi, b);
        else
            mma_f16(o[n], hi, b);
    }
#pragma unroll
    for (int n = 0; n < N * 2; n++) {
        PAIR(b, f[n / 2], n % 2);
        mma_f16(o[n], lo, b);
    }
}

// Seen is what a row may attend to: positions first..last, none if last < 0.
struct Seen {
    int first, last;
    __device__ __forceinline__ Seen(int pos, int window) : first(window > 0 ? max(0, pos - window + 1) : 0), last(pos) {}
    __device__ __forceinline__ bool operator()(int p) const { return (p >= first) & (p <= last); }
    __device__ __forceinline__ bool whole(int j) const { return last >= j * KEYS + KEYS - 1 && first <= j * KEYS; }
    __device__ __forceinline__ bool any(int j) const { return last >= j * KEYS && first < (j + 1) * KEYS; }
};

// above is m, or 0 where nothing was seen, so that differences are numbers.
__device__ __forceinline__ float above(float m) { return m == -INFINITY ? 0.0f : m; }

__device__ __forceinline__ float probability(float s, float base) { return exp2_approx(__fsub_rn(s, base)); }

// Joining is how a row's sums so far and those of the next block are weighted.
struct Joining {
    float m, old, next;
    __device__ __forceinline__ Joining(float m0, float mj) {
        m = fmaxf(m0, mj);
        old = exp2_approx(__fsub_rn(m0, above(m)));
        next = exp2_approx(__fsub_rn(mj, above(m)));
    }
    __device__ __forceinline__ float operator()(float sum, float more) const { return scaled(__fmul_rn(sum, old), more); }
    __device__ __forceinline__ float scaled(float sum, float more) const { return fmaf(more, next, sum); }
};

// Joined is four columns of a row's output, of the sums of its blocks of keys in order.
struct Joined {
    float m = -INFINITY, l = 0.0f, sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    __device__ __forceinline__ void add(float2 ml, float4 part) {
        Joining join(m, ml.x);
        m = join.m;
        l = join(l, ml.y);
        sum[0] = join(sum[0], part.x), sum[1] = join(sum[1], part.y), sum[2] = join(sum[2], part.z), sum[3] = join(sum[3], part.w);
    }
    __device__ __forceinline__ float4 result() const {
        float r = __fdiv_rn(1.0f, l);
        return make_float4(__fmul_rn(sum[0], r), __fmul_rn(sum[1], r), __fmul_rn(sum[2], r), __fmul_rn(sum[3], r));
    }
};

// joined is four columns of a row, whose parts are hd apart.
__device__ __forceinline__ float4 joined(const float* part, const float* ml, int hd, const Seen& seen) {
    const int AT_ONCE = 8;
    Joined sum;
    int end = seen.last / KEYS;
    for (int j = seen.first / KEYS; j <= end; j += AT_ONCE) {
        float2 x[AT_ONCE];
        float4 y[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            int at = min(j + i, end);
            x[i] = __ldcg((const float2*)(ml + 2 * at));
            y[i] = __ldcg((const float4*)(part + (size_t)at * hd));
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            if (j + i <= end) sum.add(x[i], y[i]);
        }
    }
    return sum.result();
}

// ones is a fragment of b that is all 1: its product is the sums of a's rows.
#define ONES(name) unsigned name[2] = {0x3c003c00u, 0x3c003c00u}
