// Pieces of attention on tensor cores: panels of keys, values or queries in
// shared memory, rows of HD halves whose 16-byte chunks are swizzled, so that
// ldmatrix meets different banks.
#pragma once
#include "mma.cuh"

#define KEYS 64  // positions of a block of keys
#define LOG2E 1.44269504088896341f

template <int HD>
struct Rows {
    static const int CHUNKS = HD / 8, BYTES = HD * 2;

    static __device__ __forceinline__ u8* at(u8* panel, int row, int chunk) { return panel + (row * CHUNKS + (chunk ^ (row & 7))) * 16; }

    // rows_a loads the fragment of a of rows row..row+15 and elements
    // 16k..16k+15, the inner dimension.
    static __device__ __forceinline__ void rows_a(unsigned (&f)[4], u8* panel, int row, int k) {
        int lane = threadIdx.x & 31;
        ldmatrix_x4(f, at(panel, row + (lane & 15), k * 2 + (lane >> 4)));
    }

    // rows_b loads the two fragments of b whose columns are rows row..row+7 and
    // row+8..row+15.
    static __device__ __forceinline__ void rows_b(unsigned (&f)[4], u8* panel, int row, int k) {
        int lane = threadIdx.x & 31;
        ldmatrix_x4(f, at(panel, row + (lane & 7) + (lane >> 4) * 8, k * 2 + (lane >> 3 & 1)));
    }

    // columns_b loads the two fragments of b whose columns are elements
    // col..col+7 and col+8..col+15; rows row..row+15 are the inner dimension.
    static __device__ __forceinline__ void columns_b(unsigned (&f)[4], u8* panel, int col, int row) {
        int lane = threadIdx.x & 31;
        ldmatrix_x4_trans(f, at(panel, row + (lane & 15), (col >> 3) + (lane >> 4)));
    }
};

// PAIR is one of the two fragments of b, in registers beside each other.
#define PAIR(name, f, e) unsigned name[2] = {f[2 * (e)], f[2 * (e) + 1]}

// f16x2 packs two values as one word, lo in the lower half.
__device__ __forceinline__ unsigned f16x2(float lo, float hi) {
#ifdef __CUDA_ARCH__
    unsigned w;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(hi), "f"(lo));
    return w;
#else
    return (unsigned)f32_to_f16(lo) | (unsigned)f32_to_f16(hi) << 16;
#endif
}

// mma_f16_first is mma_f16 for sums that start at zero.
__device__ __forceinline__ void mma_f16_first(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
#else
    d[0] = d[1] = d[2] = d[3] = 0.0f;
    mma_f16(d, a, b);
#endif
}

// Split is a pair of f32 as two pairs of f16, whose sums are the values to 22
// bits.
struct Split {
    unsigned hi, lo;
};

__device__ __forceinline__ Split split(float x, float y) {
    Split s;
    s.hi = f16x2(x, y);
    s.lo = f16x2(__fsub_rn(x, f16_to_f32((u16)s.hi)), __fsub_rn(y, f16_to_f32((u16)(s.hi >> 16))));
    return s;
}

// quad_max is the maximum over the four lanes that share rows of a fragment.
__device__ __forceinline__ float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, 1));
    return fmaxf(v, __shfl_xor_sync(FULL_WARP, v, 2));
}

__device__ __forceinline__ float quad_sum(float v) {
    v = __fadd_rn(v, __shfl_xor_sync(FULL_WARP, v, 1));
    return __fadd_rn(v, __shfl_xor_sync(FULL_WARP, v, 2));
}
