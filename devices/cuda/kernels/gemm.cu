// Ternary products of many rows on tensor cores: int8 activations q[m,k], 2-bit
// weights t[n,k] in layout i2x64.dp4a (ternary.cuh), int32 sums, exact.
//
// Weights go to shared memory packed and are unpacked into mma fragments: the
// lane of column g and quarter t of a warp needs elements 4t..4t+3 of word c of
// a row's unit, which are the bytes of (word << 2t) & 0xc0c0c0c0, times 64. The
// sum is 64 times the product, exactly, as long as 64*128*k < 2^31. One shift
// and one mask yield four weights that the warp then uses for all its rows.
#include "mma.cuh"

#define UNIT 64       // weights of a unit, bytes of activations
#define UNIT_BYTES 16  // of packed weights

// A Tile says how a block divides its work: WM x WN x WK warps, each with
// MI*16 rows of q and NI*8 rows of t; the WK share the inner dimension. A stage
// of the pipeline holds UNITS units of the inner dimension.
template <int WM_, int WN_, int WK_, int MI_, int NI_, int UNITS_, int STAGES_>
struct Tile {
    static const int WM = WM_, WN = WN_, WK = WK_, MI = MI_, NI = NI_, UNITS = UNITS_, STAGES = STAGES_;
    static const int THREADS = WM * WN * WK * 32;
    static const int BM = WM * MI * 16, BN = WN * NI * 8;
    static const int A_BYTES = BM * UNITS * UNIT, STAGE = A_BYTES + BN * UNITS * UNIT_BYTES;
};

// swizzled places 16-byte chunk c of a row of ROW bytes so that eight rows of
// one chunk lie in different banks.
template <int ROW>
__device__ __forceinline__ int swizzled(int row, int c) {
    return row * ROW + ((c ^ (ROW >= 128 ? row & 7 : row >> 1 & 3)) << 4);
}

// load_stage starts copying units u0.. of the block's rows; what lies outside
// the matrices becomes zero.
template <class T>
__device__ __forceinline__ void load_stage(u8* stage, const i8* q, const u8* t, int row0, int col0, int u0, int m, int n, int k,
                                           int units) {
    const int A_CHUNKS = T::UNITS * 4;
#pragma unroll
    for (int i = threadIdx.x; i < T::BM * A_CHUNKS; i += T::THREADS) {
        int r = i / A_CHUNKS, c = i % A_CHUNKS;
        int e = u0 * UNIT + c * 16;
        bool in = row0 + r < m && e < k;
        cp_async16(stage + swizzled<T::UNITS * UNIT>(r, c), q + (in ? (size_t)(row0 + r) * k + e : 0), in ? 16 : 0);
    }
#pragma unroll
    for (int i = threadIdx.x; i < T::BN * T::UNITS; i += T::THREADS) {
        int r = i / T::UNITS, u = i % T::UNITS;
        bool in = col0 + r < n && u0 + u < units;
        cp_async16(stage + T::A_BYTES + (u * T::BN + r) * UNIT_BYTES, t + (in ? ((size_t)(col0 + r) * units + u0 + u) * UNIT_BYTES : 0),
                   in ? 16 : 0);
    }
}

// load_rows fetches the warp's fragments of 32 elements of q: half of a unit.
template <class T>
__device__ __forceinline__ void load_rows(unsigned (&a)[T::MI][4], const u8* stage, int row, int half) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < T::MI; i++)
        ldmatrix_x4(a[i], stage + swizzled<T::UNITS * UNIT>(row + i * 16 + (lane & 15), half * 2 + (lane >> 4)));
}

// tile_sums adds up the block's products: acc[i][j] is the fragment of rows
// 16i.. and columns 8j.. of the warp, 64 times too large. Only warps with index
// 0 along WK return whole sums.
template <class T>
__device__ __forceinline__ void tile_sums(int (&acc)[T::MI][T::NI][4], const i8* q, const u8* t, int row0, int col0, int m, int n, int k) {
    DYNAMIC_SHARED(u8, shared);
    const int units = (k + UNIT - 1) / UNIT, steps = (units + T::UNITS - 1) / T::UNITS;
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int wm = warp % T::WM, wn = warp / T::WM % T::WN, wk = warp / (T::WM * T::WN);
    const int row = wm * T::MI * 16, col = wn * T::NI * 8 + (lane >> 2), shift = 2 * (lane & 3);
    const int MINE = T::UNITS / T::WK;  // units of a stage for one warp

#pragma unroll
    for (int i = 0; i < T::MI; i++)
#pragma unroll
        for (int j = 0; j < T::NI; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0;

#pragma unroll
    for (int s = 0; s < T::STAGES - 1; s++) {
        if (s < steps) load_stage<T>(shared + s * T::STAGE, q, t, row0, col0, s * T::UNITS, m, n, k, units);
        cp_async_commit();
    }
    int slot = 0;
    for (int s = 0; s < steps; s++) {
        cp_async_wait<T::STAGES - 2>();
        __syncthreads();  // stage s is there, and nobody reads the one before
        int next = s + T::STAGES - 1;
        if (next < steps)
            load_stage<T>(shared + (slot == 0 ? T::STAGES - 1 : slot - 1) * T::STAGE, q, t, row0, col0, next * T::UNITS, m, n, k, units);
        cp_async_commit();

        const u8* stage = shared + slot * T::STAGE;
        const u8* packed = stage + T::A_BYTES;
        unsigned a[2][T::MI][4];
        load_rows<T>(a[0], stage, row, wk * MINE * 2);
#pragma unroll
        for (int u = 0; u < MINE; u++) {
            uint4 w[T::NI];
#pragma unroll
            for (int j = 0; j < T::NI; j++) w[j] = *(const uint4*)(packed + ((wk * MINE + u) * T::BN + col + j * 8) * UNIT_BYTES);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                if (u * 2 + h + 1 < MINE * 2) load_rows<T>(a[(h + 1) & 1], stage, row, (wk * MINE + u) * 2 + h + 1);
#pragma unroll
                for (int j = 0; j < T::NI; j++) {
                    unsigned b[2] = {(h == 0 ? w[j].x : w[j].z) << shift & 0xc0c0c0c0u, (h == 0 ? w[j].y : w[j].w) << shift & 0xc0c0c0c0u};
#pragma unroll
                    for (int i = 0; i < T::MI; i++) mma_s8(acc[i][j], a[h][i], b);
                }
            }
        }
        slot = slot + 1 == T::STAGES ? 0 : slot + 1;
    }
    cp_async_wait<0>();
    __syncthreads();  // shared memory is free
    if (T::WK > 1) {
        int* part = (int*)shared;
        const int PART = T::MI * T::NI * 4 * 32;
        for (int w = 1; w < T::WK; w++) {
            int* mine = part + ((w - 1) * T::WM * T::WN + warp % (T::WM * T::WN)) * PART + lane;
            if (wk == w) {
#pragma unroll
                for (int i = 0; i < T::MI; i++)
#pragma unroll
                    for (int j = 0; j < T::NI; j++)
#pragma unroll
                        for (int e = 0; e < 4; e++) mine[((i * T::NI + j) * 4 + e) * 32] = acc[i][j][e];
            }
        }
        __syncthreads();
        if (wk == 0) {
            for (int w = 1; w < T::WK; w++) {
                const int* other = part + ((w - 1) * T::WM * T::WN + warp) * PART + lane;
#pragma unroll
                for (int i = 0; i < T::MI; i++)
#pragma unroll
                    for (int j = 0; j < T::NI; j++)
#pragma unroll
                        for (int e = 0; e < 4; e++) acc[i][j][e] += other[((i * T::NI + j) * 4 + e) * 32];
            }
        }
        __syncthreads();
    }
}

// A Weight is one matrix t[n,k] with its scale, and where its product goes.
struct Weight {
    const u8* t;
    const float* gamma;
    void* out;
    int n;
};

// store_tile stores the sums, where s is 0, or else y = sum*(gamma/s), and adds
// res where it is not 0; each operation rounds. It turns fragments into rows
// through shared memory, 16 rows of the warp at a time, so that stores are whole
// lines.
template <class T>
__device__ __forceinline__ void store_tile(const int (&acc)[T::MI][T::NI][4], const float* s, const float* res, Weight w, int row0,
                                           int col0, int m) {
    DYNAMIC_SHARED(u8, shared);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (warp >= T::WM * T::WN) return;  // no barrier of the block follows
    const int wm = warp % T::WM, wn = warp / T::WM;
    const int COLS = T::NI * 8, PITCH = COLS + 8, QUADS = COLS / 4;
    int* rows = (int*)shared + warp * 16 * PITCH;
    row0 += wm * T::MI * 16;
    col0 += wn * COLS;
    const float gamma = s ? *w.gamma : 0.0f;
#pragma unroll
    for (int i = 0; i < T::MI; i++) {
#pragma unroll
        for (int j = 0; j < T::NI; j++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int2 v = make_int2(acc[i][j][2 * h] >> 6, acc[i][j][2 * h + 1] >> 6);
                *(int2*)(rows + ((lane >> 2) + 8 * h) * PITCH + j * 8 + (lane & 3) * 2) = v;
            }
        }
        __syncwarp();
#pragma unroll 2
        for (int x = lane; x < 16 * QUADS; x += 32) {
            int r = x / QUADS, c = x % QUADS * 4, row = row0 + i * 16 + r, col = col0 + c;
            if (row >= m || col >= w.n) continue;
            int4 v = *(const int4*)(rows + r * PITCH + c);
            size_t at = (size_t)row * w.n + col;
            if (s) {
                float f = __fdiv_rn(gamma, s[row]);
                v = make_int4(__float_as_int(__fmul_rn((float)v.x, f)), __float_as_int(__fmul_rn((float)v.y, f)),
                              __float_as_int(__fmul_rn((float)v.z, f)), __float_as_int(__fmul_rn((float)v.w, f)));
            }
            if ((w.n & 3) == 0) {
                if (res) {
                    float4 d = *(const float4*)(res + at);
                    v = make_int4(__float_as_int(__fadd_rn(__int_as_float(v.x), d.x)), __float_as_int(__fadd_rn(__int_as_float(v.y), d.y)),
                                  __float_as_int(__fadd_rn(__int_as_float(v.z), d.z)), __float_as_int(__fadd_rn(__int_as_float(v.w), d.w)));
                }
                *(int4*)((int*)w.out + at) = v;
                continue;
            }
            int e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int y = 0; y < 4; y++) {
                if (col + y >= w.n) continue;
                ((int*)w.out)[at + y] = res ? __float_as_int(__fadd_rn(__int_as_float(e[y]), res[at + y])) : e[y];
            }
        }
        __syncwarp();
    }
}

// gemm multiplies q with up to three matrices, whose tiles follow each other
// along the grid's y axis; those left out have n = 0.
template <class T>
__device__ __forceinline__ void gemm(const i8* q, const float* s, const float* res, int m, int k, Weight w0, Weight w1, Weight w2) {
    int tile = blockIdx.y;
    Weight w = w0;
    if (tile >= (w0.n + T::BN - 1) / T::BN) {
        tile -= (w0.n + T::BN - 1) / T::BN;
        w = w1;
        if (tile >= (w1.n + T::BN - 1) / T::BN) {
            tile -= (w1.n + T::BN - 1) / T::BN;
            w = w2;
        }
    }
    int acc[T::MI][T::NI][4];
    tile_sums<T>(acc, q, w.t, blockIdx.x * T::BM, tile * T::BN, m, w.n, k);
    store_tile<T>(acc, s, res, w, blockIdx.x * T::BM, tile * T::BN, m);
}

// KERNEL defines the kernel of one tile; NAME is rows x columns of a block, of
// which BLOCKS fit a multiprocessor. gemm.go lists the same tiles.
#define KERNEL(NAME, BLOCKS, ...)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(Tile<__VA_ARGS__>::THREADS, BLOCKS)                                               \
        ternary_gemm_##NAME(const i8* q, const float* s, const float* res, int m, int k, const u8* t0, const float* gamma0,        \
                            void* out0, int n0, const u8* t1, const float* gamma1, void* out1, int n1, const u8* t2,               \
                            const float* gamma2, void* out2, int n2) {                                                             \
        gemm<Tile<__VA_ARGS__>>(q, s, res, m, k, {t0, gamma0, out0, n0}, {t1, gamma1, out1, n1}, {t2, gamma2, out2, n2});          \
    }

KERNEL(128x256, 1, 2, 4, 1, 4, 8, 2, 4)
KERNEL(128x320, 1, 2, 4, 1, 4, 10, 2, 4)
KERNEL(128x128, 2, 2, 2, 1, 4, 8, 2, 4)
KERNEL(64x64, 2, 1, 2, 2, 4, 4, 4, 3)
KERNEL(16x32, 4, 1, 1, 4, 1, 4, 8, 3)
