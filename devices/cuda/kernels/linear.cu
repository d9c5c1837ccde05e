// BitLinears of few tokens, fused with what stands before and behind them: a
// block normalises and quantizes the tokens itself, multiplies them with its rows
// of ternary weights and scales the sums, adds a residual or applies the gate.
//
// Weights have the layout of ternary.cuh. Rows are the tensor cores' A, 16 at a
// time (a "tile"), tokens are the columns of B: the price of unpacking is shared by
// up to 8 tokens. A warp multiplies 16 rows by 256 columns at a time (an "item"). It
// asks for all its items at once, into shared memory, before it waits for the kernel
// that makes the activations: so the weights of one layer arrive while the layer
// before is computed.
#include "mma.cuh"
#include "pdl.cuh"
#include "rownorm.cuh"

#define TILE 16
#define GROUP 256  // elements that a warp multiplies at a time: 4 units

__device__ __forceinline__ int groups_of(int k) { return (k + GROUP - 1) / GROUP; }

// act_pitch is the bytes from one token's codes in shared memory to the next.
__device__ __forceinline__ int act_pitch(int k) { return groups_of(k) * GROUP + 64; }

// act_place is where element e of a token lies: the four units of a group are
// interleaved in pieces of 16, so that four lanes read 64 consecutive bytes.
__device__ __forceinline__ int act_place(int e) { return (e & ~255) | (e >> 4 & 3) << 6 | (e >> 6 & 3) << 4 | (e & 15); }

// Work is a block's share of a product: tiles blockIdx.x, blockIdx.x + gridDim.x
// and so on, each of 16 rows of `parts` matrices, and its shared memory.
struct Work {
    int count, parts, k, m;  // tiles, matrices in a tile, columns, tokens of this block
    int rounds;              // items of a warp, at most
    uint4* w;                // [rounds][warps][2][32]: rows g and g+8 of a lane
    i8* act;                 // [m][act_pitch]
    float* scale;            // [m]
    Sums* sums;              // of rows being normalised, two in turn
    int* sum;                // [count*parts][TILE][m]
};

#define MOST_TOKENS 16
#define ROW_WARPS (ROW_THREADS / 32)

__device__ __forceinline__ Work share(u8* shared, int tiles, int parts, int k, int m) {
    Work o;
    o.count = (tiles - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x;
    int most = (tiles + (int)gridDim.x - 1) / (int)gridDim.x * parts;
    o.parts = parts, o.k = k, o.m = min(MOST_TOKENS, m - (int)blockIdx.y * MOST_TOKENS);
    o.rounds = (most * groups_of(k) + ROW_WARPS - 1) / ROW_WARPS;
    o.w = (uint4*)shared;
    o.act = (i8*)(o.w + o.rounds * ROW_THREADS * 2);
    o.scale = (float*)(o.act + o.m * act_pitch(k));
    o.sums = (Sums*)(o.scale + MOST_TOKENS);
    o.sum = (int*)(o.sums + 2);
    return o;
}

__device__ __forceinline__ int tile_of(int i) { return blockIdx.x + i * gridDim.x; }

// Matrix is rows of ternary weights [n,k].
struct Matrix {
    const uint4* w;
    int n;
};

// Item is one round of a warp: rows of a part of a tile by a group of columns.
struct Item {
    int part, group;
    bool any;
};

__device__ __forceinline__ Item item(const Work& o, int round) {
    int i = round * ROW_WARPS + (threadIdx.x >> 5), groups = groups_of(o.k);
    Item z = {i / groups, i % groups, i < o.count * o.parts * groups};
    return z;
}

// place is where a lane's weights of a round lie, those of row g+8 32 further.
__device__ __forceinline__ uint4* place(const Work& o, int round) {
    return o.w + (round * ROW_WARPS + (threadIdx.x >> 5)) * 64 + (threadIdx.x & 31);
}

// ask requests a lane's weights of a round from rows r0 on of a.
__device__ __forceinline__ void ask(const Work& o, int round, int group, Matrix a, int r0) {
    int g = (threadIdx.x & 31) >> 2, u = 4 * group + (threadIdx.x & 3), units = (o.k + 63) / 64;
    int row = r0 + g;
    bool low = u < units && row < a.n, high = u < units && row + 8 < a.n;
    uint4* to = place(o, round);
    cp_async16(to, low ? a.w + (size_t)row * units + u : a.w, low ? 16 : 0);
    cp_async16(to + 32, high ? a.w + (size_t)(row + 8) * units + u : a.w, high ? 16 : 0);
}

// wait_for waits until at most so many of the thread's latest groups of copies are
// under way.
__device__ __forceinline__ void wait_for(int pending) {
    switch (pending) {
        case 0: cp_async_wait<0>(); break;
        case 1: cp_async_wait<1>(); break;
        case 2: cp_async_wait<2>(); break;
        case 3: cp_async_wait<3>(); break;
        default: cp_async_wait<4>();
    }
}

// clear makes sums zero, and codes between a row's end and its last group's.
__device__ __forceinline__ void clear(const Work& o) {
    for (int i = threadIdx.x; i < o.count * o.parts * TILE * o.m; i += ROW_THREADS) o.sum[i] = 0;
    int from = o.k & ~3, n = groups_of(o.k) * GROUP - from;
    if (n == 0) return;
    for (int i = threadIdx.x; i < n * o.m; i += ROW_THREADS) o.act[i / n * act_pitch(o.k) + act_place(from + i % n)] = 0;
}

// soon asks for the weights of a norm, which are read after the wait.
__device__ __forceinline__ void soon(const float* g, int k) {
    int e = threadIdx.x * 32;
    if (e < k) prefetch_l2(g + e);
}

// take_norm fills the codes from rows of x f32[m,k] and weights g of a norm.
template <int HELD>
__device__ __forceinline__ void take_norm(const Work& o, const float* x, const float* g, double eps, float qmax) {
    const Mean mean(o.k, eps);
    for (int i = 0; i < o.m; i++) {
        Row<HELD> row(x + (size_t)(blockIdx.y * MOST_TOKENS + i) * o.k, g, o.k);
        i8* act = o.act + i * act_pitch(o.k);
        float s = quantize_row(row, o.sums + (i & 1), mean, qmax, [&](int e, int codes) { *(int*)(act + act_place(e)) = codes; });
        if (threadIdx.x == 0) o.scale[i] = s;
    }
}

// take_codes copies codes q i8[m,k] and scales s f32[m,1].
__device__ __forceinline__ void take_codes(const Work& o, const i8* q, const float* s) {
    q += (size_t)blockIdx.y * MOST_TOKENS * o.k;
    if (threadIdx.x < o.m) o.scale[threadIdx.x] = s[blockIdx.y * MOST_TOKENS + threadIdx.x];
    int size = (o.k & 15) == 0 ? 16 : (o.k & 3) == 0 ? 4 : 1;
    int n = (o.k + size - 1) / size;
    for (int i = threadIdx.x; i < n * o.m; i += ROW_THREADS) {
        int r = i / n, e = i % n * size;
        i8* to = o.act + r * act_pitch(o.k) + act_place(e);
        const i8* from = q + (size_t)r * o.k + e;
        if (size == 16) {
            *(int4*)to = *(const int4*)from;
        } else if (size == 4) {
            *(int*)to = *(const int*)from;
        } else {
            *to = *from;
        }
    }
}

// multiply adds the products of the block's items to the sums: NT times 8 tokens
// at most.
template <int NT>
__device__ __forceinline__ void multiply(const Work& o) {
    int ld = act_pitch(o.k), lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    for (int round = 0; round < o.rounds; round++) {
        Item z = item(o, round);
        if (!z.any) break;
        wait_for(o.rounds - 1 - round);
        const uint4* w = place(o, round);
        uint4 a = w[0], b = w[32];
        const unsigned low[4] = {a.x, a.y, a.z, a.w}, high[4] = {b.x, b.y, b.z, b.w};
        int d[NT][2][4];
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int c = 0; c < 8; c++) d[n][c >> 2][c & 3] = 0;
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const unsigned first[4] = {low[c] & 0xc0c0c0c0u, high[c] & 0xc0c0c0c0u, low[c] << 2 & 0xc0c0c0c0u, high[c] << 2 & 0xc0c0c0c0u};
            const unsigned second[4] = {low[c] << 4 & 0xc0c0c0c0u, high[c] << 4 & 0xc0c0c0c0u, low[c] << 6 & 0xc0c0c0c0u, high[c] << 6 & 0xc0c0c0c0u};
#pragma unroll
            for (int n = 0; n < NT; n++) {
                uint4 q = make_uint4(0, 0, 0, 0);
                if (8 * n + g < o.m) q = *(const uint4*)(o.act + (8 * n + g) * ld + z.group * GROUP + c * 64 + t * 16);
                const unsigned q0[2] = {q.x, q.y}, q1[2] = {q.z, q.w};
                mma_s8(d[n][0], first, q0);
                mma_s8(d[n][1], second, q1);
            }
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int row = g + (c >> 1) * 8, col = 8 * n + 2 * t + (c & 1);
                if (col < o.m) atomicAdd(&o.sum[(z.part * TILE + row) * o.m + col], d[n][0][c] + d[n][1][c]);
            }
        }
    }
    cp_async_wait<0>();
}

// linear is a block's work: ask_item(round, item) requests weights, take() fills
// codes, and done(tile, row, token) takes a sum when all are there; before(tile, row,
// token) loads what it needs besides for the first sum of a thread.
template <int NT, typename Ask, typename Take, typename Before, typename Done>
__device__ __forceinline__ void linear(const Work& o, Ask ask_item, Take take, Before before, Done done) {
    launch_dependents();
    for (int round = 0; round < o.rounds; round++) {
        Item z = item(o, round);
        if (z.any) ask_item(round, z);
        cp_async_commit();
    }
    clear(o);
    grid_dependency_wait();
    __syncthreads();  // codes are written over zeros
    int outputs = o.count * TILE * o.m, i = threadIdx.x;
    if (i < outputs) before(i / o.m / TILE, i / o.m % TILE, i % o.m);
    take();
    __syncthreads();
    multiply<NT>(o);
    __syncthreads();
    for (; i < outputs; i += ROW_THREADS) {
        if (i >= ROW_THREADS) before(i / o.m / TILE, i / o.m % TILE, i % o.m);
        done(i / o.m / TILE, i / o.m % TILE, i % o.m);
    }
}

// total is a sum of a block, without the 64 that unpacked weights are multiplied
// with.
__device__ __forceinline__ float total(const Work& o, int part, int row, int token) {
    return (float)(o.sum[(part * TILE + row) * o.m + token] >> 6);
}

// One of up to three matrices of one input, with its scale and results.
struct Output {
    Matrix a;
    const float* gamma;
    float* y;
    int r0;  // of the tile that it was found for
};

struct Three {
    Output a, b, c;
};

__device__ __forceinline__ int tiles_of(int n) { return (n + TILE - 1) / TILE; }

// of finds the matrix of a tile, where tiles of one follow those of the other,
// and the tile's first row in it.
__device__ __forceinline__ Output of(const Three& z, int tile) {
    Output o = z.a;
    if (tile >= tiles_of(z.a.a.n)) {
        tile -= tiles_of(z.a.a.n), o = z.b;
        if (tile >= tiles_of(z.b.a.n)) tile -= tiles_of(z.b.a.n), o = z.c;
    }
    o.r0 = tile * TILE;
    return o;
}

template <int NT, typename Take>
__device__ __forceinline__ void linear3(const Work& o, const Three& z, const float* res, Take take) {
    Output to = z.a;
    size_t at = 0;
    float gamma = 0.0f, add = 0.0f;
    bool in = false;
    linear<NT>(
        o,
        [&](int round, Item i) {
            Output y = of(z, tile_of(i.part));
            ask(o, round, i.group, y.a, y.r0);
        },
        take,
        [&](int tile, int row, int token) {
            to = of(z, tile_of(tile));
            in = to.r0 + row < to.a.n;
            if (!in) return;
            at = (size_t)(blockIdx.y * MOST_TOKENS + token) * to.a.n + to.r0 + row;
            gamma = to.gamma[0];
            if (res) add = res[at];
        },
        [&](int tile, int row, int token) {
            if (!in) return;
            float y = __fmul_rn(total(o, tile, row, token), __fdiv_rn(gamma, o.scale[token]));
            to.y[at] = res ? __fadd_rn(y, add) : y;
        });
}

template <int NT, typename Take>
__device__ __forceinline__ void linear_glu(const Work& o, Matrix gate, Matrix up, const float* c0, const float* c1, float* y, Take take) {
    float gamma0 = 0.0f, gamma1 = 0.0f;
    linear<NT>(
        o, [&](int round, Item i) { ask(o, round, i.group, i.part & 1 ? up : gate, tile_of(i.part >> 1) * TILE); }, take,
        [&](int, int, int) { gamma0 = c0[0], gamma1 = c1[0]; },
        [&](int tile, int row, int token) {
            int r = tile_of(tile) * TILE + row;
            if (r >= gate.n) return;
            float s = o.scale[token];
            float a = fmaxf(__fmul_rn(total(o, 2 * tile, row, token), __fdiv_rn(gamma0, s)), 0.0f);
            float b = __fmul_rn(total(o, 2 * tile + 1, row, token), __fdiv_rn(gamma1, s));
            y[(size_t)(blockIdx.y * MOST_TOKENS + token) * gate.n + r] = __fmul_rn(__fmul_rn(a, a), b);
        });
}

// y_i = bitlinear(norm(x, g)) for up to three weights (n1, n2 may be 0), and
// y0 + res if res is not null; up to 8 tokens for a block.
KERNEL(ROW_THREADS, 2, norm_linear)
(const float* x, const float* g, int m, const uint4* w0, const float* c0, const uint4* w1, const float* c1, const uint4* w2, const float* c2,
 const float* res, float* y0, float* y1, float* y2, int n0, int n1, int n2, int k, double eps, float qmax) {
    DYNAMIC_SHARED(u8, shared);
    Three z = {{{w0, n0}, c0, y0, 0}, {{w1, n1}, c1, y1, 0}, {{w2, n2}, c2, y2, 0}};
    Work o = share(shared, tiles_of(n0) + tiles_of(n1) + tiles_of(n2), 1, k, m);
    soon(g, k);
    linear3<1>(o, z, res, [&]() {
        if (k <= 2 * ROW_STEP) {
            take_norm<2>(o, x, g, eps, qmax);
        } else {
            take_norm<4>(o, x, g, eps, qmax);
        }
    });
}

// The same for codes that exist already; up to MOST_TOKENS for a block.
KERNEL(ROW_THREADS, 2, codes_linear)
(const i8* q, const float* s, int m, const uint4* w0, const float* c0, const uint4* w1, const float* c1, const uint4* w2, const float* c2,
 const float* res, float* y0, float* y1, float* y2, int n0, int n1, int n2, int k) {
    DYNAMIC_SHARED(u8, shared);
    Three z = {{{w0, n0}, c0, y0, 0}, {{w1, n1}, c1, y1, 0}, {{w2, n2}, c2, y2, 0}};
    Work o = share(shared, tiles_of(n0) + tiles_of(n1) + tiles_of(n2), 1, k, m);
    if (o.m <= 8) {
        linear3<1>(o, z, res, [&]() { take_codes(o, q, s); });
    } else {
        linear3<2>(o, z, res, [&]() { take_codes(o, q, s); });
    }
}

// y = relu2(gate) * up of bitlinears of norm(x, g)
KERNEL(ROW_THREADS, 2, norm_glu)
(const float* x, const float* g, const uint4* w0, const float* c0, const uint4* w1, const float* c1, float* y, int m, int n, int k, double eps,
 float qmax) {
    DYNAMIC_SHARED(u8, shared);
    Work o = share(shared, tiles_of(n), 2, k, m);
    soon(g, k);
    linear_glu<1>(o, {w0, n}, {w1, n}, c0, c1, y, [&]() { take_norm<2>(o, x, g, eps, qmax); });
}

KERNEL(ROW_THREADS, 2, codes_glu)
(const i8* q, const float* s, const uint4* w0, const float* c0, const uint4* w1, const float* c1, float* y, int m, int n, int k) {
    DYNAMIC_SHARED(u8, shared);
    Work o = share(shared, tiles_of(n), 2, k, m);
    if (o.m <= 8) {
        linear_glu<1>(o, {w0, n}, {w1, n}, c0, c1, y, [&]() { take_codes(o, q, s); });
    } else {
        linear_glu<2>(o, {w0, n}, {w1, n}, c0, c1, y, [&]() { take_codes(o, q, s); });
    }
}

// q, s = quant.act(rmsnorm(x, g)), a block for each row
KERNEL(ROW_THREADS, 2, norm_quant)(const float* x, const float* g, i8* q, float* s, int d, double eps, float qmax) {
    __shared__ Sums sums;
    launch_dependents();
    soon(g, d);
    grid_dependency_wait();
    i8* to = q + (size_t)blockIdx.x * d;
    Row<2> row(x + (size_t)blockIdx.x * d, g, d);
    float sc = quantize_row(row, &sums, Mean(d, eps), qmax, [&](int e, int codes) {
        if ((d & 3) == 0) {
            *(int*)(to + e) = codes;
        } else {
            for (int i = 0; i < 4 && e + i < d; i++) to[e + i] = (i8)(codes >> 8 * i);
        }
    });
    if (threadIdx.x == 0) s[blockIdx.x] = sc;
}

// y = relu2(gate) * up
KERNEL(256, 1, relu2_glu)(const float* gate, const float* up, float* y, long long n) {
    launch_dependents();
    grid_dependency_wait();
    EACH(i, n) {
        float a = fmaxf(gate[i], 0.0f);
        y[i] = __fmul_rn(__fmul_rn(a, a), up[i]);
    }
}
