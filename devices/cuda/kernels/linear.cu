// BitLinears of few tokens, fused with what stands before and behind them: a
// block normalises and quantizes the tokens itself, multiplies them with its rows
// of ternary weights and scales the sums, adds a residual or applies the gate.
//
// Weights have the layout of ternary.cuh. A block asks for all its rows at once,
// into shared memory, before it waits for the kernel that makes the activations:
// so the weights of one layer arrive while the layer before is computed. Rows are
// the tensor cores' A, 16 at a time (a "tile"), tokens are the columns of B: the
// price of unpacking is shared by up to 8 tokens.
#include "mma.cuh"
#include "pdl.cuh"
#include "rownorm.cuh"

#define TILE 16
#define GROUP 256  // elements that a warp multiplies at a time: 4 units

// groups is how many groups a row of k elements has; pitch the uint4s from one
// row of weights in shared memory to the next, so that 8 rows meet all banks.
__device__ __forceinline__ int groups_of(int k) { return (k + GROUP - 1) / GROUP; }
__device__ __forceinline__ int pitch_of(int k) {
    int p = 4 * groups_of(k);
    return (p & 7) == 4 ? p : p + 4;
}

// act_pitch is the bytes from one token's codes in shared memory to the next.
__device__ __forceinline__ int act_pitch(int k) { return groups_of(k) * GROUP + 64; }

// act_place is where element e of a token lies: the four units of a group are
// interleaved in pieces of 16, so that four lanes read 64 consecutive bytes.
__device__ __forceinline__ int act_place(int e) { return (e & ~255) | (e >> 4 & 3) << 6 | (e >> 6 & 3) << 4 | (e & 15); }

// Matrix is rows of ternary weights [n,k].
struct Matrix {
    const uint4* w;
    int n;
};

// ask requests the 16 rows of a tile from row r0 on.
__device__ __forceinline__ void ask(uint4* to, Matrix a, int r0, int units, int pitch) {
    const uint4* w = a.w + (size_t)r0 * units;
    int rows = min(TILE, a.n - r0);
    for (int r = threadIdx.x >> 5; r < rows; r += ROW_THREADS / 32) {
        for (int u = threadIdx.x & 31; u < units; u += 32) cp_async16(to + r * pitch + u, w + r * units + u);
    }
}

// Work is a block's share of a product: tiles blockIdx.x, blockIdx.x + gridDim.x
// and so on, each of `parts` times 16 rows, and its shared memory.
struct Work {
    int count, parts, k, m;  // tiles, matrices in a tile, columns, tokens of this block
    uint4* w;                // [count*parts][TILE][pitch]
    i8* act;                 // [m][act_pitch]
    float* scale;            // [m]
    int* sum;                // [count*parts][TILE][m]
};

#define MOST_TOKENS 16

__device__ __forceinline__ Work share(u8* shared, int tiles, int parts, int k, int m) {
    Work o;
    o.count = (tiles - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x;
    int most = (tiles + (int)gridDim.x - 1) / (int)gridDim.x * parts;
    int m0 = blockIdx.y * MOST_TOKENS;
    o.parts = parts, o.k = k, o.m = min(MOST_TOKENS, m - m0);
    o.w = (uint4*)shared;
    o.act = (i8*)(o.w + most * TILE * pitch_of(k));
    o.scale = (float*)(o.act + o.m * act_pitch(k));
    o.sum = (int*)(o.scale + MOST_TOKENS);
    return o;
}

__device__ __forceinline__ int tile_of(int i) { return blockIdx.x + i * gridDim.x; }

// clear makes sums zero, and codes between a row's end and its last group's.
__device__ __forceinline__ void clear(Work o) {
    for (int i = threadIdx.x; i < o.count * o.parts * TILE * o.m; i += ROW_THREADS) o.sum[i] = 0;
    int from = o.k & ~3, n = groups_of(o.k) * GROUP - from;
    for (int i = threadIdx.x; i < n * o.m; i += ROW_THREADS) o.act[i / n * act_pitch(o.k) + act_place(from + i % n)] = 0;
}

// soon asks for the weights of a norm, which are read after the wait.
__device__ __forceinline__ void soon(const float* g, int k) {
    int e = threadIdx.x * 32;
    if (e < k) prefetch_l2(g + e);
}

// take_norm fills the codes from rows of x f32[m,k] and weights g of a norm.
__device__ __forceinline__ void take_norm(Work o, const float* x, const float* g, double eps, float qmax) {
    for (int i = 0; i < o.m; i++) {
        i8* act = o.act + i * act_pitch(o.k);
        float s = quantize_row<true>(x + (size_t)(blockIdx.y * MOST_TOKENS + i) * o.k, g, o.k, eps, qmax,
                                     [&](int e, int codes) { *(int*)(act + act_place(e)) = codes; });
        if (threadIdx.x == 0) o.scale[i] = s;
    }
}

// take_codes copies codes q i8[m,k] and scales s f32[m,1].
__device__ __forceinline__ void take_codes(Work o, const i8* q, const float* s) {
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

// multiply adds the products of all tiles to the sums: NT times 8 tokens at most.
// A warp takes one group of columns of one matrix of one tile at a time.
template <int NT>
__device__ __forceinline__ void multiply(Work o) {
    int groups = groups_of(o.k), pitch = pitch_of(o.k), ld = act_pitch(o.k);
    int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    for (int i = threadIdx.x >> 5; i < o.count * o.parts * groups; i += ROW_THREADS / 32) {
        int part = i / groups, j = i % groups;
        const uint4* w = o.w + (part * TILE + g) * pitch + 4 * j + t;
        uint4 a = w[0], b = w[8 * pitch];
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
                if (8 * n + g < o.m) q = *(const uint4*)(o.act + (8 * n + g) * ld + j * GROUP + c * 64 + t * 16);
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
                if (col < o.m) atomicAdd(&o.sum[(part * TILE + row) * o.m + col], d[n][0][c] + d[n][1][c]);
            }
        }
    }
}

// linear is a block's work: ask(part, tile) requests weights, take() fills codes
// and done(part, row in the tile's matrix, token, value) takes what comes out,
// without the weights' scale: value = sum, scale = the token's.
template <int NT, typename Ask, typename Take, typename Done>
__device__ __forceinline__ void linear(Work o, Ask ask_tile, Take take, Done done) {
    launch_dependents();
    for (int i = 0; i < o.count; i++) ask_tile(i);
    cp_async_commit();
    clear(o);
    grid_dependency_wait();
    __syncthreads();  // codes are written over zeros
    take();
    cp_async_wait<0>();
    __syncthreads();
    multiply<NT>(o);
    __syncthreads();
    for (int i = threadIdx.x; i < o.count * TILE * o.m; i += ROW_THREADS) {
        int row = i / o.m % TILE, token = i % o.m, tile = i / o.m / TILE;
        done(tile, row, token, (float)(o.sum[(tile * o.parts * TILE + row) * o.m + token] >> 6), o.scale[token]);
    }
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
__device__ __forceinline__ void linear3(Work o, const Three& z, const float* res, Take take) {
    int units = (o.k + 63) / 64, pitch = pitch_of(o.k);
    linear<NT>(
        o,
        [&](int i) {
            Output to = of(z, tile_of(i));
            ask(o.w + i * TILE * pitch, to.a, to.r0, units, pitch);
        },
        take,
        [&](int i, int row, int token, float sum, float s) {
            Output to = of(z, tile_of(i));
            int r = to.r0 + row;
            if (r >= to.a.n) return;
            size_t at = (size_t)(blockIdx.y * MOST_TOKENS + token) * to.a.n + r;
            float y = __fmul_rn(sum, __fdiv_rn(to.gamma[0], s));
            if (res) y = __fadd_rn(y, res[at]);
            to.y[at] = y;
        });
}

template <int NT, typename Take>
__device__ __forceinline__ void linear_glu(Work o, Matrix gate, Matrix up, const float* c0, const float* c1, float* y, Take take) {
    int units = (o.k + 63) / 64, pitch = pitch_of(o.k);
    linear<NT>(
        o,
        [&](int i) {
            ask(o.w + 2 * i * TILE * pitch, gate, tile_of(i) * TILE, units, pitch);
            ask(o.w + (2 * i + 1) * TILE * pitch, up, tile_of(i) * TILE, units, pitch);
        },
        take,
        [&](int i, int row, int token, float sum, float s) {
            int r = tile_of(i) * TILE + row;
            if (r >= gate.n) return;
            float a = fmaxf(__fmul_rn(sum, __fdiv_rn(c0[0], s)), 0.0f);
            float b = __fmul_rn((float)(o.sum[((2 * i + 1) * TILE + row) * o.m + token] >> 6), __fdiv_rn(c1[0], s));
            y[(size_t)(blockIdx.y * MOST_TOKENS + token) * gate.n + r] = __fmul_rn(__fmul_rn(a, a), b);
        });
}

// y_i = bitlinear(norm(x, g)) for up to three weights (n1, n2 may be 0), and
// y0 + res if res is not null; up to 8 tokens for a block.
KERNEL(ROW_THREADS, 2, norm_linear)
(const float* x, const float* g, const uint4* w0, const float* c0, const uint4* w1, const float* c1, const uint4* w2, const float* c2,
 const float* res, float* y0, float* y1, float* y2, int m, int n0, int n1, int n2, int k, double eps, float qmax) {
    DYNAMIC_SHARED(u8, shared);
    Three z = {{{w0, n0}, c0, y0, 0}, {{w1, n1}, c1, y1, 0}, {{w2, n2}, c2, y2, 0}};
    Work o = share(shared, tiles_of(n0) + tiles_of(n1) + tiles_of(n2), 1, k, m);
    soon(g, k);
    linear3<1>(o, z, res, [&]() { take_norm(o, x, g, eps, qmax); });
}

// The same for codes that exist already; up to MOST_TOKENS for a block.
KERNEL(ROW_THREADS, 2, codes_linear)
(const i8* q, const float* s, const uint4* w0, const float* c0, const uint4* w1, const float* c1, const uint4* w2, const float* c2,
 const float* res, float* y0, float* y1, float* y2, int m, int n0, int n1, int n2, int k) {
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
    linear_glu<1>(o, {w0, n}, {w1, n}, c0, c1, y, [&]() { take_norm(o, x, g, eps, qmax); });
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
    launch_dependents();
    grid_dependency_wait();
    i8* row = q + (size_t)blockIdx.x * d;
    float sc = quantize_row<true>(x + (size_t)blockIdx.x * d, g, d, eps, qmax, [&](int e, int codes) {
        if ((d & 3) == 0) {
            *(int*)(row + e) = codes;
        } else {
            for (int i = 0; i < 4 && e + i < d; i++) row[e + i] = (i8)(codes >> 8 * i);
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
