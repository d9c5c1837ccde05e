// Ternary products of many rows on Hopper's warpgroup instructions: int8
// activations q[m,k], 2-bit weights t[n,k] in layout i2x64.dp4a (ternary.cuh),
// int32 sums, exact. gemm.cu computes the same on older GPUs.
//
// Weights are the instruction's A, in registers: a thread unpacks its fragment
// with a shift and a mask (gemm.cu tells why the sum is 64 times the product),
// straight from device memory, a step ahead. Tokens are B, in shared memory: rows
// of 128 bytes, whose 16-byte chunks are permuted as the 128-byte swizzle of the
// PTX ISA (asynchronous warpgroup matrix multiply) wants. While one warpgroup
// unpacks, the tensor cores work for another.
#include "mma.cuh"

#define WIDE 128      // elements of a step, and bytes of a token's row in a stage
#define DEPTH 3       // stages
#define AHEAD 2       // steps that copies are ahead
#define GROUPS 2      // warpgroups of a block
#define GROUP_ROWS 64  // of weights, for one warpgroup

#define OUT8(i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), "+r"(d[i + 6]), "+r"(d[i + 7])
#define OUT32(i) OUT8(i), OUT8(i + 8), OUT8(i + 16), OUT8(i + 24)

// wgmma adds 64 rows of 32 weights times N tokens to d, some time later.
template <int N>
__device__ __forceinline__ void wgmma(int (&d)[N / 2], const unsigned* a, unsigned long long b);

template <>
__device__ __forceinline__ void wgmma<64>(int (&d)[32], const unsigned* a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "{%32, %33, %34, %35}, %36, 1;"
        : OUT32(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

template <>
__device__ __forceinline__ void wgmma<128>(int (&d)[64], const unsigned* a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "{%64, %65, %66, %67}, %68, 1;"
        : OUT32(0), OUT32(32)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

template <>
__device__ __forceinline__ void wgmma<256>(int (&d)[128], const unsigned* a, unsigned long long b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
            "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
            "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "{%128, %129, %130, %131}, %132, 1;"
        : OUT32(0), OUT32(32), OUT32(64), OUT32(96)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// visible lets the tensor cores see what this thread's copies wrote.
__device__ __forceinline__ void visible() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// descriptor tells the tensor cores of a stage's tokens: rows of 128 bytes, eight
// of them a swizzled group of 1024.
__device__ __forceinline__ unsigned long long descriptor(const u8* stage) {
    unsigned at = (unsigned)__cvta_generic_to_shared(stage);
    return (unsigned long long)(at >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// load_tokens starts copying elements e0.. of N tokens; what lies outside becomes
// zero.
template <int N>
__device__ __forceinline__ void load_tokens(u8* stage, const i8* q, int row0, int e0, int m, int k) {
#pragma unroll
    for (int i = 0; i < N * 8 / (GROUPS * 128); i++) {
        int x = i * GROUPS * 128 + threadIdx.x, r = x >> 3, c = x & 7, e = e0 + c * 16;
        bool in = row0 + r < m && e < k;
        cp_async16(stage + r * WIDE + ((c ^ (r & 7)) << 4), q + (in ? (size_t)(row0 + r) * k + e : 0), in ? 16 : 0);
    }
}

// Words are the packed weights of a thread for one step: two units of two rows.
struct Words {
    uint4 w[2][2];
};

__device__ __forceinline__ void load_words(Words& v, const uint4* t, int row, int n, int unit, int units) {
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int u = 0; u < 2; u++) {
            bool in = row + 8 * r < n && unit + u < units;
            v.w[r][u] = in ? __ldg(t + (size_t)(row + 8 * r) * units + unit + u) : make_uint4(0, 0, 0, 0);
        }
}

// multiply_step starts the products of one step.
template <int N>
__device__ __forceinline__ void multiply_step(int (&acc)[N / 2], const Words& v, const u8* stage) {
    const int shift = 2 * (threadIdx.x & 3);
    unsigned a[4][4];
#pragma unroll
    for (int h = 0; h < 4; h++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const uint4& w = v.w[r][h >> 1];
            a[h][r] = ((h & 1) == 0 ? w.x : w.z) << shift & 0xc0c0c0c0u;
            a[h][2 + r] = ((h & 1) == 0 ? w.y : w.w) << shift & 0xc0c0c0c0u;
        }
    // The compiler must not unpack between the products, or it lets each of them
    // wait for the one before.
#pragma unroll
    for (int h = 0; h < 4; h++)
#pragma unroll
        for (int r = 0; r < 4; r++) asm volatile("" : "+r"(a[h][r])::"memory");
    unsigned long long b = descriptor(stage);
    wgmma_fence();
#pragma unroll
    for (int h = 0; h < 4; h++) wgmma<N>(acc, a[h], b + 2 * h);
    wgmma_commit();
}

// wide_sums leaves in acc the sums, times 64, of the warpgroup's rows of t, from
// row on, with the block's N tokens.
template <int N>
__device__ __forceinline__ void wide_sums(int (&acc)[N / 2], u8* stages, const i8* q, const u8* t, int row, int n, int token0, int m,
                                          int k) {
    const int units = (k + 63) / 64, steps = (k + WIDE - 1) / WIDE;
    row += (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7);
#pragma unroll
    for (int i = 0; i < N / 2; i++) acc[i] = 0;
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (s < steps) load_tokens<N>(stages + s * N * WIDE, q, token0, s * WIDE, m, k);
        cp_async_commit();
    }
    Words v[2];
    load_words(v[0], (const uint4*)t, row, n, 0, units);
    for (int s0 = 0; s0 < steps; s0 += 2) {
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
            int s = s0 + odd;
            if (s >= steps) break;
            cp_async_wait<AHEAD - 1>();
            visible();
            __syncthreads();  // step s is there, and step s-1 is multiplied
            int next = s + AHEAD;
            if (next < steps) load_tokens<N>(stages + next % DEPTH * N * WIDE, q, token0, next * WIDE, m, k);
            cp_async_commit();
            load_words(v[1 - odd], (const uint4*)t, row, n, 2 * (s + 1), units);
            multiply_step<N>(acc, v[odd], stages + s % DEPTH * N * WIDE);
            wgmma_wait<0>();
        }
    }
    cp_async_wait<0>();
    __syncthreads();  // the stages are free
}

// align1024 moves to the next multiple of 1024, which the swizzle counts from.
__device__ __forceinline__ u8* align1024(u8* p) { return p + (-(unsigned)__cvta_generic_to_shared(p) & 1023); }

struct WideWeight {
    const u8* t;
    const float* gamma;
    void* out;
    int n;
};

#define BLOCK_ROWS (GROUPS * GROUP_ROWS)

// wide_gemm multiplies q with up to three matrices, whose blocks of rows follow
// each other along the grid's y axis; those left out have n = 0. It stores sums
// where s is 0, or else sum*(gamma/s), plus res where that is not 0.
template <int N>
__device__ __forceinline__ void wide_gemm(const i8* q, const float* s, const float* res, int m, int k, WideWeight w0, WideWeight w1,
                                          WideWeight w2) {
    DYNAMIC_SHARED(u8, shared);
    int block = blockIdx.y;
    WideWeight w = w0;
    if (block >= (w0.n + BLOCK_ROWS - 1) / BLOCK_ROWS) {
        block -= (w0.n + BLOCK_ROWS - 1) / BLOCK_ROWS;
        w = w1;
        if (block >= (w1.n + BLOCK_ROWS - 1) / BLOCK_ROWS) {
            block -= (w1.n + BLOCK_ROWS - 1) / BLOCK_ROWS;
            w = w2;
        }
    }
    const int row0 = block * BLOCK_ROWS + (threadIdx.x >> 7) * GROUP_ROWS, token0 = blockIdx.x * N;
    int acc[N / 2];
    wide_sums<N>(acc, align1024(shared), q, w.t, row0, w.n, token0, m, k);

    const int row = row0 + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7), token = token0 + (threadIdx.x & 3) * 2;
    const float gamma = s ? *w.gamma : 0.0f;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int i = token + 8 * j + e;
            if (i >= m) continue;
            float f = s ? __fdiv_rn(gamma, s[i]) : 0.0f;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                if (row + 8 * r >= w.n) continue;
                size_t at = (size_t)i * w.n + row + 8 * r;
                int sum = acc[4 * j + 2 * r + e] >> 6;
                if (!s) {
                    ((int*)w.out)[at] = sum;
                    continue;
                }
                float y = __fmul_rn((float)sum, f);
                ((float*)w.out)[at] = res ? __fadd_rn(y, res[at]) : y;
            }
        }
}

// wide_glu is relu2(gate) * up of two matrices of n rows: the first warpgroup
// multiplies rows of gate, the second the same rows of up.
template <int N>
__device__ __forceinline__ void wide_glu(const i8* q, const float* s, const u8* gate, const float* gamma0, const u8* up,
                                         const float* gamma1, float* out, int m, int n, int k) {
    DYNAMIC_SHARED(u8, shared);
    const int group = threadIdx.x >> 7, row0 = blockIdx.y * GROUP_ROWS, token0 = blockIdx.x * N;
    int acc[N / 2];
    u8* stages = align1024(shared);
    wide_sums<N>(acc, stages, q, group == 0 ? gate : up, row0, n, token0, m, k);

    float* ups = (float*)stages + (threadIdx.x & 127);
    const int row = row0 + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7), token = token0 + (threadIdx.x & 3) * 2;
    const float gamma = group == 0 ? *gamma0 : *gamma1;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int i = token + 8 * j + e;
            float f = i < m ? __fdiv_rn(gamma, s[i]) : 0.0f;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                int x = 4 * j + 2 * r + e;
                float y = __fmul_rn((float)(acc[x] >> 6), f);
                acc[x] = __float_as_int(y);
                if (group == 1) ups[x * 128] = y;
            }
        }
    __syncthreads();
    if (group == 1) return;
#pragma unroll
    for (int j = 0; j < N / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int i = token + 8 * j + e;
            if (i >= m) continue;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                if (row + 8 * r >= n) continue;
                int x = 4 * j + 2 * r + e;
                float g = fmaxf(__int_as_float(acc[x]), 0.0f);
                out[(size_t)i * n + row + 8 * r] = __fmul_rn(__fmul_rn(g, g), ups[x * 128]);
            }
        }
}

#define WIDE_KERNELS(N, BLOCKS)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(GROUPS * 128, BLOCKS)                                                                  \
        ternary_wgmma_##N(const i8* q, const float* s, const float* res, int m, int k, const u8* t0, const float* gamma0,          \
                          void* out0, int n0, const u8* t1, const float* gamma1, void* out1, int n1, const u8* t2,                 \
                          const float* gamma2, void* out2, int n2) {                                                               \
        wide_gemm<N>(q, s, res, m, k, {t0, gamma0, out0, n0}, {t1, gamma1, out1, n1}, {t2, gamma2, out2, n2});                     \
    }                                                                                                                               \
    extern "C" __global__ void __launch_bounds__(GROUPS * 128, BLOCKS)                                                                  \
        glu_wgmma_##N(const i8* q, const float* s, const u8* gate, const float* gamma0, const u8* up, const float* gamma1,          \
                      float* out, int m, int n, int k) {                                                                           \
        wide_glu<N>(q, s, gate, gamma0, up, gamma1, out, m, n, k);                                                                 \
    }

WIDE_KERNELS(64, 2)
WIDE_KERNELS(128, 2)
WIDE_KERNELS(256, 1)
