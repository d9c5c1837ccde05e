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

    // along loads the fragments of rows row..row+15, which are rows of a or
    // columns of b, and elements 16k..16k+15, the inner dimension.
    static __device__ __forceinline__ void along(unsigned (&f)[4], u8* panel, int row, int k) {
        int lane = threadIdx.x & 31;
        ldmatrix_x4(f, at(panel, row + (lane & 15), k * 2 + (lane >> 4)));
    }

    // across loads the same of the transposed panel: elements col..col+15 are
    // rows of a or columns of b, rows row..row+15 the inner dimension.
    static __device__ __forceinline__ void across(unsigned (&f)[4], u8* panel, int col, int row) {
        int lane = threadIdx.x & 31;
        ldmatrix_x4_trans(f, at(panel, row + (lane & 7) + (lane >> 4) * 8, (col >> 3) + (lane >> 3 & 1)));
    }
};

// pair is the fragment of b for the lower (0) or upper (1) eight columns of
// four matrices that along or across loaded.
#define PAIR(name, f, e) unsigned name[2] = {f[e], f[e + 2]}

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
