// Dense products y[m,n] = op(a) op(b), where op transposes if ta or tb say so.
//
// matmul_ffma_* multiply and add in f32, whatever the element types: every
// result is one chain of fused multiply-adds along the inner dimension in
// ascending order, so all of them, at every size, give the same bits.
//
// matmul_bf16_* multiply bf16 on tensor cores and add in f32, sixteen elements
// of the inner dimension at a time in ascending order.
#include "mma.cuh"

// Element types, as matmul.go numbers them.
enum { F32, BF16, F16 };

__device__ __forceinline__ float widened(u16 h, int type) { return type == BF16 ? bf16_to_f32(h) : f16_to_f32(h); }

// load4 reads elements at..at+3 of p, of which the first count exist.
__device__ __forceinline__ float4 load4(const void* p, int type, size_t at, int count, bool aligned) {
    if (count >= 4 && aligned) {
        if (type == F32) return *(const float4*)((const float*)p + at);
        ushort4 h = *(const ushort4*)((const u16*)p + at);
        return make_float4(widened(h.x, type), widened(h.y, type), widened(h.z, type), widened(h.w, type));
    }
    float v[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (i < count) v[i] = type == F32 ? ((const float*)p)[at + i] : widened(((const u16*)p)[at + i], type);
    }
    return make_float4(v[0], v[1], v[2], v[3]);
}

// An Operand of [rows, k] elements, or [k, rows] if it is transposed. rows are
// those of the result for a, its columns for b.
struct Operand {
    const void* p;
    int type, rows, k;
    bool transposed;

    // get reads four elements along the dimension that is contiguous in memory:
    // x is the row and y the inner index of the first.
    __device__ __forceinline__ float4 get(int x, int y) const {
        int pitch = transposed ? rows : k, count = transposed ? rows - x : k - y;
        if (x >= rows || y >= k) count = 0;
        size_t at = transposed ? (size_t)y * pitch + x : (size_t)x * pitch + y;
        return load4(p, type, count > 0 ? at : 0, count, (pitch & 3) == 0);
    }
};

#define FFMA_K 16

// A Stripe of an operand is FFMA_K inner indices of R rows. stripe_get fetches a
// thread's part into registers, stripe_put stores it as shared[inner][row].
template <int R, int THREADS>
__device__ __forceinline__ void stripe_get(float4 (&v)[R * FFMA_K / 4 / THREADS], const Operand& o, int row0, int k0) {
#pragma unroll
    for (int i = 0; i < R * FFMA_K / 4 / THREADS; i++) {
        int x = threadIdx.x + i * THREADS;
        v[i] = o.transposed ? o.get(row0 + x % (R / 4) * 4, k0 + x / (R / 4)) : o.get(row0 + x / (FFMA_K / 4), k0 + x % (FFMA_K / 4) * 4);
    }
}

template <int R, int THREADS>
__device__ __forceinline__ void stripe_put(float* shared, const float4 (&v)[R * FFMA_K / 4 / THREADS], bool transposed) {
    const int PITCH = R + 4;
#pragma unroll
    for (int i = 0; i < R * FFMA_K / 4 / THREADS; i++) {
        int x = threadIdx.x + i * THREADS;
        if (transposed) {
            *(float4*)(shared + x / (R / 4) * PITCH + x % (R / 4) * 4) = v[i];
            continue;
        }
        float* to = shared + x % (FFMA_K / 4) * 4 * PITCH + x / (FFMA_K / 4);
        to[0] = v[i].x, to[PITCH] = v[i].y, to[2 * PITCH] = v[i].z, to[3 * PITCH] = v[i].w;
    }
}

// matmul_ffma computes a tile of TM*16 x TN*16 results with 256 threads, each
// TM x TN of them in groups of four.
template <int TM, int TN>
__device__ __forceinline__ void matmul_ffma(Operand a, Operand b, void* y, int type) {
    const int THREADS = 256, BM = TM * 16, BN = TN * 16, PM = BM + 4, PN = BN + 4;
    DYNAMIC_SHARED(float, shared);
    const int BUFFER = FFMA_K * (PM + PN);
    const int row0 = blockIdx.x * BM, col0 = blockIdx.y * BN, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float acc[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) acc[i][j] = 0.0f;

    float4 va[BM * FFMA_K / 4 / THREADS], vb[BN * FFMA_K / 4 / THREADS];
    stripe_get<BM, THREADS>(va, a, row0, 0);
    stripe_get<BN, THREADS>(vb, b, col0, 0);
    const int steps = (a.k + FFMA_K - 1) / FFMA_K;
    for (int s = 0; s < steps; s++) {
        float* sa = shared + (s & 1) * BUFFER;
        float* sb = sa + FFMA_K * PM;
        stripe_put<BM, THREADS>(sa, va, a.transposed);
        stripe_put<BN, THREADS>(sb, vb, b.transposed);
        __syncthreads();
        if (s + 1 < steps) {
            stripe_get<BM, THREADS>(va, a, row0, (s + 1) * FFMA_K);
            stripe_get<BN, THREADS>(vb, b, col0, (s + 1) * FFMA_K);
        }
#pragma unroll
        for (int l = 0; l < FFMA_K; l++) {
            float x[TM], w[TN];
#pragma unroll
            for (int i = 0; i < TM; i += 4) *(float4*)(x + i) = *(const float4*)(sa + l * PM + i * 16 + ty * 4);
#pragma unroll
            for (int j = 0; j < TN; j += 4) *(float4*)(w + j) = *(const float4*)(sb + l * PN + j * 16 + tx * 4);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++) acc[i][j] = fmaf(x[i], w[j], acc[i][j]);
        }
    }
#pragma unroll
    for (int i = 0; i < TM; i++) {
        int row = row0 + i / 4 * 64 + ty * 4 + i % 4;
        if (row >= a.rows) continue;
#pragma unroll
        for (int j = 0; j < TN; j += 4) {
            int col = col0 + j * 16 + tx * 4;
            size_t at = (size_t)row * b.rows + col;
            if (col + 3 < b.rows && (b.rows & 3) == 0) {
                if (type == F32)
                    *(float4*)((float*)y + at) = make_float4(acc[i][j], acc[i][j + 1], acc[i][j + 2], acc[i][j + 3]);
                else
                    *(uint2*)((u16*)y + at) = make_uint2(bf16x2(acc[i][j], acc[i][j + 1]), bf16x2(acc[i][j + 2], acc[i][j + 3]));
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                if (col + e >= b.rows) continue;
                if (type == F32)
                    ((float*)y)[at + e] = acc[i][j + e];
                else
                    ((u16*)y)[at + e] = f32_to_bf16(acc[i][j + e]);
            }
        }
    }
}

__device__ __forceinline__ const void* matrix(const void* p, int type, long long elements) {
    return (const u8*)p + elements * (type == F32 ? 4 : 2);
}

// Matrices along the grid's z axis follow each other in memory.
#define FFMA_KERNEL(TM, TN, BM, BN, BLOCKS)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS) matmul_ffma_##BM##x##BN(                                                    \
        const void* a, const void* b, void* y, int m, int n, int k, int ta, int tb, int type_a, int type_b, int type_y) {         \
        long long z = blockIdx.z;                                                                                                 \
        Operand oa = {matrix(a, type_a, z * m * k), type_a, m, k, ta != 0}, ob = {matrix(b, type_b, z * n * k), type_b, n, k, tb == 0}; \
        matmul_ffma<TM, TN>(oa, ob, (void*)matrix(y, type_y, z * m * n), type_y);                                                 \
    }

FFMA_KERNEL(8, 8, 128, 128, 2)
FFMA_KERNEL(4, 4, 64, 64, 3)

// --- bf16 on tensor cores ---

#define MMA_K 64  // inner indices of a stage

// A panel is the part of an operand that a stage holds: R rows x MMA_K inner
// indices. It lies in shared memory as in device memory: [row][inner], or
// [inner][row] if the operand is transposed; 16-byte chunks are swizzled.
template <int R, bool TRANSPOSED>
struct Panel {
    static const int LINES = TRANSPOSED ? MMA_K : R, CHUNKS = (TRANSPOSED ? R : MMA_K) / 8, BYTES = R * MMA_K * 2;

    static __device__ __forceinline__ u8* at(u8* panel, int line, int chunk) { return panel + (line * CHUNKS + (chunk ^ (line & 7))) * 16; }

    // load starts copying; what lies outside becomes zero.
    template <int THREADS>
    static __device__ __forceinline__ void load(u8* panel, const u16* p, int row0, int k0, int rows, int k) {
        int line0 = TRANSPOSED ? k0 : row0, lines = TRANSPOSED ? k : rows, e0 = TRANSPOSED ? row0 : k0, pitch = TRANSPOSED ? rows : k;
#pragma unroll
        for (int i = 0; i < LINES * CHUNKS / THREADS; i++) {
            int x = threadIdx.x + i * THREADS, line = x / CHUNKS, c = x % CHUNKS;
            bool in = line0 + line < lines && e0 + c * 8 < pitch;
            cp_async16(at(panel, line, c), p + (in ? (size_t)(line0 + line) * pitch + e0 + c * 8 : 0), in ? 16 : 0);
        }
    }

    // fragment_a loads the fragment of 16 rows from row on and 16 inner indices
    // from k on; fragments_b the two whose columns are the first and the last
    // eight rows, each in registers beside each other.
    static __device__ __forceinline__ void fragment_a(unsigned (&f)[4], u8* panel, int row, int k) {
        int lane = threadIdx.x & 31;
        if (TRANSPOSED)
            ldmatrix_x4_trans(f, at(panel, k + (lane & 7) + (lane >> 4) * 8, (row >> 3) + (lane >> 3 & 1)));
        else
            ldmatrix_x4(f, at(panel, row + (lane & 15), (k >> 3) + (lane >> 4)));
    }

    static __device__ __forceinline__ void fragments_b(unsigned (&f)[4], u8* panel, int row, int k) {
        int lane = threadIdx.x & 31;
        if (TRANSPOSED)
            ldmatrix_x4_trans(f, at(panel, k + (lane & 15), (row >> 3) + (lane >> 4)));
        else
            ldmatrix_x4(f, at(panel, row + (lane & 7) + (lane >> 4) * 8, (k >> 3) + (lane >> 3 & 1)));
    }
};

// matmul_bf16 computes a tile with WM x WN warps of MI*16 x NJ*16 results each.
// BT says that b is stored as [n,k], AT that a is stored as [k,m]. The grid's z
// axis splits the inner dimension into parts of chunk elements, whose sums go to
// y + z*m*n as f32 if there is more than one.
template <int WM, int WN, int MI, int NJ, int STAGES, bool AT, bool BT>
__device__ __forceinline__ void matmul_bf16(const u16* a, const u16* b, void* y, int type, int m, int n, int k, int chunk) {
    const int THREADS = WM * WN * 32, BM = WM * MI * 16, BN = WN * NJ * 16;
    typedef Panel<BM, AT> PA;
    typedef Panel<BN, !BT> PB;
    const int STAGE = PA::BYTES + PB::BYTES;
    DYNAMIC_SHARED(u8, shared);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, wm = warp % WM, wn = warp / WM;
    const int row0 = blockIdx.x * BM, col0 = blockIdx.y * BN;
    const int first = blockIdx.z * chunk, end = min(k, first + chunk), steps = (end - first + MMA_K - 1) / MMA_K;

    float acc[MI][NJ][2][4];
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NJ; j++)
#pragma unroll
            for (int e = 0; e < 8; e++) acc[i][j][e >> 2][e & 3] = 0.0f;

#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) {
            PA::template load<THREADS>(shared + s * STAGE, a, row0, first + s * MMA_K, m, k);
            PB::template load<THREADS>(shared + s * STAGE + PA::BYTES, b, col0, first + s * MMA_K, n, k);
        }
        cp_async_commit();
    }
    int slot = 0;
    for (int s = 0; s < steps; s++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        int next = s + STAGES - 1;
        if (next < steps) {
            u8* to = shared + (slot == 0 ? STAGES - 1 : slot - 1) * STAGE;
            PA::template load<THREADS>(to, a, row0, first + next * MMA_K, m, k);
            PB::template load<THREADS>(to + PA::BYTES, b, col0, first + next * MMA_K, n, k);
        }
        cp_async_commit();
        u8* pa = shared + slot * STAGE;
        u8* pb = pa + PA::BYTES;
        unsigned fa[2][MI][4], fb[2][NJ][4];
#pragma unroll
        for (int i = 0; i < MI; i++) PA::fragment_a(fa[0][i], pa, (wm * MI + i) * 16, 0);
#pragma unroll
        for (int j = 0; j < NJ; j++) PB::fragments_b(fb[0][j], pb, (wn * NJ + j) * 16, 0);
#pragma unroll
        for (int h = 0; h < MMA_K / 16; h++) {
            if (h + 1 < MMA_K / 16) {
#pragma unroll
                for (int i = 0; i < MI; i++) PA::fragment_a(fa[(h + 1) & 1][i], pa, (wm * MI + i) * 16, (h + 1) * 16);
#pragma unroll
                for (int j = 0; j < NJ; j++) PB::fragments_b(fb[(h + 1) & 1][j], pb, (wn * NJ + j) * 16, (h + 1) * 16);
            }
#pragma unroll
            for (int j = 0; j < NJ; j++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    unsigned w[2] = {fb[h & 1][j][2 * e], fb[h & 1][j][2 * e + 1]};
#pragma unroll
                    for (int i = 0; i < MI; i++) mma_bf16(acc[i][j][e], fa[h & 1][i], w);
                }
            }
        }
        slot = slot + 1 == STAGES ? 0 : slot + 1;
    }
    cp_async_wait<0>();
    __syncthreads();

    // Rows through shared memory, 16 of the warp at a time.
    const int COLS = NJ * 16, PITCH = COLS + 8, QUADS = COLS / 4;
    float* rows = (float*)shared + warp * 16 * PITCH;
    if (gridDim.z > 1) y = (float*)y + (size_t)blockIdx.z * m * n;
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int j = 0; j < NJ; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float2 v = make_float2(acc[i][j][e >> 1][e & 1 ? 2 : 0], acc[i][j][e >> 1][e & 1 ? 3 : 1]);
                *(float2*)(rows + ((lane >> 2) + 8 * (e & 1)) * PITCH + j * 16 + (e >> 1) * 8 + (lane & 3) * 2) = v;
            }
        }
        __syncwarp();
#pragma unroll 2
        for (int x = lane; x < 16 * QUADS; x += 32) {
            int r = x / QUADS, c = x % QUADS * 4, row = row0 + (wm * MI + i) * 16 + r, col = col0 + wn * COLS + c;
            if (row >= m || col >= n) continue;
            float4 v = *(const float4*)(rows + r * PITCH + c);
            size_t to = (size_t)row * n + col;
            if ((n & 3) == 0) {
                if (type == F32)
                    *(float4*)((float*)y + to) = v;
                else
                    *(uint2*)((u16*)y + to) = make_uint2(bf16x2(v.x, v.y), bf16x2(v.z, v.w));
                continue;
            }
            float e[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int z = 0; z < 4; z++) {
                if (col + z >= n) continue;
                if (type == F32)
                    ((float*)y)[to + z] = e[z];
                else
                    ((u16*)y)[to + z] = f32_to_bf16(e[z]);
            }
        }
        __syncwarp();
    }
}

// Names are the block's rows x columns, then whether a and b are read as they
// are stored (n) or transposed (t).
#define BF16_KERNEL(NAME, BLOCKS, THREADS, AT, BT, ...)                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                           \
        matmul_bf16_##NAME(const u16* a, const u16* b, void* y, int m, int n, int k, int chunk, int type_y) {                \
        matmul_bf16<__VA_ARGS__, AT, BT>(a, b, y, type_y, m, n, k, chunk);                                                   \
    }

BF16_KERNEL(128x128_nn, 2, 128, false, false, 2, 2, 4, 4, 3)
BF16_KERNEL(128x128_nt, 2, 128, false, true, 2, 2, 4, 4, 3)
BF16_KERNEL(128x128_tn, 2, 128, true, false, 2, 2, 4, 4, 3)
BF16_KERNEL(128x128_tt, 2, 128, true, true, 2, 2, 4, 4, 3)
BF16_KERNEL(64x64_nn, 4, 128, false, false, 2, 2, 2, 2, 3)
BF16_KERNEL(64x64_nt, 4, 128, false, true, 2, 2, 2, 2, 3)
BF16_KERNEL(64x64_tn, 4, 128, true, false, 2, 2, 2, 2, 3)
BF16_KERNEL(64x64_tt, 4, 128, true, true, 2, 2, 2, 2, 3)

// matmul_parts adds up the parts of a split product in ascending order.
extern "C" __global__ void matmul_parts(const float* part, void* y, long long n, int parts, int type_y) {
    EACH(i, n) {
        float sum = part[i];
        for (int p = 1; p < parts; p++) sum = __fadd_rn(sum, part[p * n + i]);
        if (type_y == F32)
            ((float*)y)[i] = sum;
        else
            ((u16*)y)[i] = f32_to_bf16(sum);
    }
}
