// Element types: kernels are templates over float and bf16, compute in f32 and
// read and write 16 bytes at a time where they can.
#pragma once
#include "common.cuh"

// bf16 is a bfloat16 in memory, f16 an IEEE half.
struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(bf16 v) { return bf16_to_f32(v.bits); }
__device__ __forceinline__ float widen(f16 v) { return f16_to_f32(v.bits); }

__device__ __forceinline__ void put(float* p, float v) { *p = v; }
__device__ __forceinline__ void put(bf16* p, float v) { p->bits = f32_to_bf16(v); }
__device__ __forceinline__ void put(f16* p, float v) { p->bits = f32_to_f16(v); }

// PACK is how many elements are 16 bytes.
template <typename T>
struct PackOf {
    static const int N = 16 / sizeof(T);
};
#define PACK(T) PackOf<T>::N

__device__ __forceinline__ void load_pack(const float* p, float (&v)[4]) {
    float4 w = *(const float4*)p;
    v[0] = w.x, v[1] = w.y, v[2] = w.z, v[3] = w.w;
}

__device__ __forceinline__ void load_pack(const bf16* p, float (&v)[8]) {
    uint4 w = *(const uint4*)p;
    v[0] = __uint_as_float(w.x << 16), v[1] = __uint_as_float(w.x & 0xffff0000u);
    v[2] = __uint_as_float(w.y << 16), v[3] = __uint_as_float(w.y & 0xffff0000u);
    v[4] = __uint_as_float(w.z << 16), v[5] = __uint_as_float(w.z & 0xffff0000u);
    v[6] = __uint_as_float(w.w << 16), v[7] = __uint_as_float(w.w & 0xffff0000u);
}

__device__ __forceinline__ void store_pack(float* p, const float (&v)[4]) {
    *(float4*)p = make_float4(v[0], v[1], v[2], v[3]);
}

__device__ __forceinline__ void store_pack(bf16* p, const float (&v)[8]) {
    uint4 w;
    w.x = bf16x2(v[0], v[1]), w.y = bf16x2(v[2], v[3]), w.z = bf16x2(v[4], v[5]), w.w = bf16x2(v[6], v[7]);
    *(uint4*)p = w;
}

// load_f32 reads N consecutive values, for gains that stand beside a pack of
// another type.
template <int N>
__device__ __forceinline__ void load_f32(const float* p, float (&v)[N]) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        float4 w = *(const float4*)(p + i);
        v[i] = w.x, v[i + 1] = w.y, v[i + 2] = w.z, v[i + 3] = w.w;
    }
}

template <int N>
__device__ __forceinline__ void store_f32(float* p, const float (&v)[N]) {
#pragma unroll
    for (int i = 0; i < N; i += 4) *(float4*)(p + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
}

// Rows of d elements are divided among G threads (a warp or a block) in packs:
// thread t has packs t, t+G, …. EACH_PACK runs over those of one thread; where d
// is no multiple of a pack, EACH_ONE runs over single elements instead.
__device__ __forceinline__ bool packs(int d, int pack) { return d % pack == 0; }
