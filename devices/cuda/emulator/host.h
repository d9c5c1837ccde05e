// The part of CUDA C++ that the kernels use, for a host compiler.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <utility>

#include "thread.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

#define threadIdx (emulated_self->thread)
#define blockIdx (emulated_self->block)
#define blockDim (emulated_self->block_dim)
#define gridDim (emulated_self->grid_dim)
#define warpSize 32

// Vector types, with the alignment that a GPU demands.
#define EMULATED_VECTOR(base, type, align2, align4)                                                     \
    struct alignas(align2) base##2 { type x, y; };                                                      \
    struct alignas(align4) base##4 { type x, y, z, w; };                                                \
    static inline base##2 make_##base##2(type x, type y) { return {x, y}; }                             \
    static inline base##4 make_##base##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATED_VECTOR(char, signed char, 2, 4)
EMULATED_VECTOR(uchar, unsigned char, 2, 4)
EMULATED_VECTOR(short, short, 4, 8)
EMULATED_VECTOR(ushort, unsigned short, 4, 8)
EMULATED_VECTOR(int, int, 8, 16)
EMULATED_VECTOR(uint, unsigned, 8, 16)
EMULATED_VECTOR(float, float, 8, 16)
EMULATED_VECTOR(double, double, 16, 16)
EMULATED_VECTOR(longlong, long long, 16, 16)
EMULATED_VECTOR(ulonglong, unsigned long long, 16, 16)
struct int3 { int x, y, z; };
struct float3 { float x, y, z; };
static inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
static inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }

// Bits.
template <typename To, typename From>
static inline To emulated_bits(From f) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To t;
    memcpy(&t, &f, sizeof t);
    return t;
}
static inline int __float_as_int(float f) { return emulated_bits<int>(f); }
static inline unsigned __float_as_uint(float f) { return emulated_bits<unsigned>(f); }
static inline float __int_as_float(int i) { return emulated_bits<float>(i); }
static inline float __uint_as_float(unsigned i) { return emulated_bits<float>(i); }
static inline long long __double_as_longlong(double d) { return emulated_bits<long long>(d); }
static inline double __longlong_as_double(long long i) { return emulated_bits<double>(i); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1) << (31 - i);
    return y;
}
static inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    unsigned long long v = (unsigned long long)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (unsigned)(v >> 8 * (s >> 4 * i & 7) & 0xff) << 8 * i;
    return r;
}
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)((((unsigned long long)hi << 32 | lo) << (s & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)(((unsigned long long)hi << 32 | lo) >> (s & 31));
}
template <typename Word, typename A, typename B, typename Sum>
static inline Sum emulated_dp4a(Word a, Word b, Sum c) {
    A x[4];
    B y[4];
    memcpy(x, &a, 4);
    memcpy(y, &b, 4);
    for (int i = 0; i < 4; i++) c += (Sum)x[i] * (Sum)y[i];
    return c;
}
static inline int __dp4a(int a, int b, int c) { return emulated_dp4a<int, signed char, signed char, int>(a, b, c); }
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    return emulated_dp4a<unsigned, unsigned char, unsigned char, unsigned>(a, b, c);
}

// Arithmetic that is rounded where it stands: the compiler must not contract it.
static inline float emulated_rounded(float f) {
#if defined(__x86_64__)
    asm("" : "+x"(f));
#elif defined(__aarch64__)
    asm("" : "+w"(f));
#endif
    return f;
}
static inline double emulated_rounded(double f) {
#if defined(__x86_64__)
    asm("" : "+x"(f));
#elif defined(__aarch64__)
    asm("" : "+w"(f));
#endif
    return f;
}
static inline float __fadd_rn(float a, float b) { return emulated_rounded(a + b); }
static inline float __fsub_rn(float a, float b) { return emulated_rounded(a - b); }
static inline float __fmul_rn(float a, float b) { return emulated_rounded(a * b); }
static inline float __fdiv_rn(float a, float b) { return emulated_rounded(a / b); }
static inline float __frcp_rn(float a) { return emulated_rounded(1.0f / a); }
static inline float __fsqrt_rn(float a) { return emulated_rounded(sqrtf(a)); }
static inline float __frsqrt_rn(float a) { return (float)(1.0 / sqrt((double)a)); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dadd_rn(double a, double b) { return emulated_rounded(a + b); }
static inline double __dsub_rn(double a, double b) { return emulated_rounded(a - b); }
static inline double __dmul_rn(double a, double b) { return emulated_rounded(a * b); }
static inline double __ddiv_rn(double a, double b) { return emulated_rounded(a / b); }
static inline double __dsqrt_rn(double a) { return emulated_rounded(sqrt(a)); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// Functions that a GPU approximates; here they are nearly exact.
// The C library has its own functions of some of these names.
#define __expf(x) expf(x)
#define __exp10f(x) powf(10, x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)
static inline float __fdividef(float x, float y) { return x / y; }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }

// Conversions saturate, and make 0 of what is not a number.
template <typename Int>
static inline Int emulated_to_int(double x) {
    constexpr Int lo = Int(-1) < 0 ? Int(1) << (8 * sizeof(Int) - 1) : 0, hi = Int(~lo);
    if (!(x == x)) return 0;
    if (x <= (double)lo) return lo;
    if (x >= (double)hi) return hi;
    return (Int)x;
}
static inline int __float2int_rn(float x) { return emulated_to_int<int>(rint(x)); }
static inline int __float2int_rz(float x) { return emulated_to_int<int>(trunc(x)); }
static inline int __float2int_rd(float x) { return emulated_to_int<int>(floor(x)); }
static inline int __float2int_ru(float x) { return emulated_to_int<int>(ceil(x)); }
static inline unsigned __float2uint_rn(float x) { return emulated_to_int<unsigned>(rint(x)); }
static inline long long __float2ll_rn(float x) { return emulated_to_int<long long>(rint(x)); }
static inline int __double2int_rn(double x) { return emulated_to_int<int>(rint(x)); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }

#define EMULATED_MINMAX(A, B, R)                                       \
    static inline R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; } \
    static inline R max(A a, B b) { return (R)a > (R)b ? (R)a : (R)b; }
EMULATED_MINMAX(int, int, int)
EMULATED_MINMAX(unsigned, unsigned, unsigned)
EMULATED_MINMAX(int, unsigned, unsigned)
EMULATED_MINMAX(unsigned, int, unsigned)
EMULATED_MINMAX(long, long, long)
EMULATED_MINMAX(unsigned long, unsigned long, unsigned long)
EMULATED_MINMAX(long long, long long, long long)
EMULATED_MINMAX(unsigned long long, unsigned long long, unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

// Memory.
#define EMULATED_LOAD(name) \
    template <typename T>   \
    static inline T name(const T* p) { return *p; }
EMULATED_LOAD(__ldg)
EMULATED_LOAD(__ldcs)
EMULATED_LOAD(__ldcg)
EMULATED_LOAD(__ldca)
EMULATED_LOAD(__ldlu)
EMULATED_LOAD(__ldcv)
#define EMULATED_STORE(name) \
    template <typename T>    \
    static inline void name(T* p, T v) { *p = v; }
EMULATED_STORE(__stcs)
EMULATED_STORE(__stcg)
EMULATED_STORE(__stwb)
EMULATED_STORE(__stwt)
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

template <typename T, typename F>
static inline T emulated_atomic(T* p, F f) {
    T old, next;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do {
        next = f(old);
    } while (!__atomic_compare_exchange(p, &old, &next, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return old;
}
#define EMULATED_ATOMICS(T)                                                                              \
    static inline T atomicAdd(T* p, T v) { return emulated_atomic(p, [=](T o) { return (T)(o + v); }); } \
    static inline T atomicMax(T* p, T v) { return emulated_atomic(p, [=](T o) { return o > v ? o : v; }); } \
    static inline T atomicMin(T* p, T v) { return emulated_atomic(p, [=](T o) { return o < v ? o : v; }); } \
    static inline T atomicExch(T* p, T v) { return emulated_atomic(p, [=](T) { return v; }); }           \
    static inline T atomicOr(T* p, T v) { return emulated_atomic(p, [=](T o) { return o | v; }); }       \
    static inline T atomicAnd(T* p, T v) { return emulated_atomic(p, [=](T o) { return o & v; }); }      \
    static inline T atomicXor(T* p, T v) { return emulated_atomic(p, [=](T o) { return o ^ v; }); }      \
    static inline T atomicCAS(T* p, T c, T v) { return emulated_atomic(p, [=](T o) { return o == c ? v : o; }); }
EMULATED_ATOMICS(int)
EMULATED_ATOMICS(unsigned)
EMULATED_ATOMICS(unsigned long long)
static inline int atomicSub(int* p, int v) { return atomicAdd(p, -v); }
static inline unsigned atomicSub(unsigned* p, unsigned v) { return atomicAdd(p, 0u - v); }
static inline unsigned atomicInc(unsigned* p, unsigned v) {
    return emulated_atomic(p, [=](unsigned o) { return o >= v ? 0u : o + 1; });
}
static inline float atomicAdd(float* p, float v) { return emulated_atomic(p, [=](float o) { return o + v; }); }
static inline double atomicAdd(double* p, double v) { return emulated_atomic(p, [=](double o) { return o + v; }); }
static inline float atomicExch(float* p, float v) { return emulated_atomic(p, [=](float) { return v; }); }

// Waiting for the block and for the warp.
static inline void __syncthreads() { emulator::barrier(0, 0, 0); }
static inline int __syncthreads_count(int v) { return emulator::barrier(0, 0, v != 0); }
static inline int __syncthreads_or(int v) { return emulator::barrier(0, 0, v != 0) != 0; }
static inline int __syncthreads_and(int v) { return emulator::barrier(0, 0, v == 0) == 0; }
static inline void emulated_barrier(int id, int threads) { emulator::barrier(id, threads, 0); }

static inline void emulated_full(unsigned mask) {
    if (mask != 0xffffffffu) emulator::fail(719, "the emulator only knows collectives of whole warps");
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulated_full(mask);
    emulator::exchange(emulator::SYNC, nullptr, 0);
}
template <typename T>
static inline T emulated_shuffle(unsigned mask, T v, int from) {
    emulated_full(mask);
    static_assert(sizeof(T) <= emulator::slot_bytes, "too large to shuffle");
    const unsigned char* all = emulator::exchange(emulator::SHUFFLE, &v, sizeof v);
    T r;
    memcpy(&r, all + from * emulator::slot_bytes, sizeof r);
    return r;
}
static inline int emulated_lane() { return emulated_self->lane; }
template <typename T>
static inline T __shfl_sync(unsigned mask, T v, int src, int width = 32) {
    int l = emulated_lane();
    return emulated_shuffle(mask, v, (l & ~(width - 1)) | (src & (width - 1)));
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32) {
    int l = emulated_lane(), s = l ^ x;
    return emulated_shuffle(mask, v, (s & ~(width - 1)) > (l & ~(width - 1)) ? l : s & 31);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned n, int width = 32) {
    int l = emulated_lane(), s = l - (int)n;
    return emulated_shuffle(mask, v, s < (l & ~(width - 1)) ? l : s);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned n, int width = 32) {
    int l = emulated_lane(), s = l + (int)n;
    return emulated_shuffle(mask, v, s > (l | (width - 1)) ? l : s);
}
static inline unsigned __ballot_sync(unsigned mask, int v) {
    emulated_full(mask);
    unsigned char vote = v != 0;
    const unsigned char* all = emulator::exchange(emulator::VOTE, &vote, 1);
    unsigned b = 0;
    for (int i = 0; i < 32; i++) b |= (unsigned)all[i * emulator::slot_bytes] << i;
    return b;
}
static inline int __any_sync(unsigned mask, int v) { return __ballot_sync(mask, v) != 0; }
static inline int __all_sync(unsigned mask, int v) { return __ballot_sync(mask, !v) == 0; }
#define EMULATED_REDUCE(name, T, expr)                                                       \
    static inline T name(unsigned mask, T v) {                                               \
        for (int o = 16; o > 0; o >>= 1) { T a = v, b = __shfl_xor_sync(mask, v, o); v = expr; } \
        return v;                                                                            \
    }
EMULATED_REDUCE(__reduce_add_sync, int, a + b)
EMULATED_REDUCE(__reduce_add_sync, unsigned, a + b)
EMULATED_REDUCE(__reduce_max_sync, int, a > b ? a : b)
EMULATED_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATED_REDUCE(__reduce_min_sync, int, a < b ? a : b)
EMULATED_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATED_REDUCE(__reduce_or_sync, unsigned, a | b)
EMULATED_REDUCE(__reduce_and_sync, unsigned, a & b)
[[noreturn]] static inline void __trap() { emulator::fail(719, "the kernel called __trap"); }

#include "matrix.h"

// Registration of kernels.
namespace emulator {

template <typename T>
struct Signature;

template <typename... Args>
struct Signature<void (*)(Args...)> {
    template <size_t... I>
    static void unpack(void (*f)(Args...), void** args, std::index_sequence<I...>) {
        f(*(std::remove_reference_t<Args>*)args[I]...);
    }
    static void call(void* f, void** args) { unpack((void (*)(Args...))f, args, std::index_sequence_for<Args...>{}); }
    static Kernel kernel(const char* name, void (*f)(Args...)) { return {name, (void*)f, call, {(int)sizeof(Args)...}}; }
};

struct Registration {
    template <typename F>
    Registration(const char* name, F* f) {
        add_kernel(Signature<F*>::kernel(name, f));
    }
};

}  // namespace emulator
