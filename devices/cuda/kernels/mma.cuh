// Tensor cores: one warp multiplies small matrices that its lanes hold in
// pieces ("fragments"). All lanes must call these functions together. With
// g = lane/4 and t = lane%4, the fragments of the m16n8 products are
//
//     a[0]: row g,   a[1]: row g+8,  a[2], a[3]: the same rows, second half of k
//     b[0]: column g, first half of k,  b[1]: second half
//     d[0], d[1]: row g, columns 2t and 2t+1;  d[2], d[3]: row g+8
//
// and a word of a or b holds 4 int8 at 4t..4t+3 or 2 halves at 2t, 2t+1 of its
// half of k, the first in the low bits.
#pragma once
#include "common.cuh"

// mma_s8 adds a[16,32] · b[32,8] of int8 to d[16,8] of int32.
__device__ __forceinline__ void mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulated_mma<i8>(d, a, b);
#endif
}

// mma_bf16 adds a[16,16] · b[16,8] of bf16 to d[16,8] of f32.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulated_mma<emulated_bf16>(d, a, b);
#endif
}

// mma_f16 is mma_bf16 for f16.
__device__ __forceinline__ void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulated_mma<emulated_f16>(d, a, b);
#endif
}

// ldmatrix_x4 loads four 8x8 matrices of 16-bit elements from shared memory.
// Lane 8i+j passes the address of row j (16 aligned bytes) of matrix i; word i
// of lane l is then elements 2(l%4) and 2(l%4)+1 of row l/4 of matrix i. With
// int8, a "row" is 16 elements and a word 4 of them.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
#ifdef __CUDA_ARCH__
    unsigned p = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p) : "memory");
#else
    emulated_ldmatrix<4, false>(r, row);
#endif
}

// ldmatrix_x4_trans is ldmatrix_x4 with each matrix transposed: word i of lane l
// is column l/4, rows 2(l%4) and 2(l%4)+1.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
#ifdef __CUDA_ARCH__
    unsigned p = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p) : "memory");
#else
    emulated_ldmatrix<4, true>(r, row);
#endif
}

// ldmatrix_x2 loads two matrices; lanes 0 to 15 pass the addresses.
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* row) {
#ifdef __CUDA_ARCH__
    unsigned p = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p) : "memory");
#else
    emulated_ldmatrix<2, false>(r, row);
#endif
}

__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* row) {
#ifdef __CUDA_ARCH__
    unsigned p = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p) : "memory");
#else
    emulated_ldmatrix<2, true>(r, row);
#endif
}
