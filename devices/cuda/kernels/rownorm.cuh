// Normalisation and quantisation of rows. Every kernel that normalises a row for a
// ternary product adds up its squares in one order, so that a token's codes do not depend
// on the batch it is in: a lane of a warp has four elements of a chunk of 128 and those of
// chunks 64, 128 and so on further; lanes are added by halves (warp_sum), and 64 sums of
// them likewise (sum_slots). So any number of warps may share the chunks.
#pragma once
#include "norm.cuh"

#define ROW_THREADS 512
#define ROW_STEP (4 * ROW_THREADS)  // elements that the block takes at a time
#define CHUNK 128
#define SLOTS 64

// load4 is elements e to e+3 of a row of d, zero beyond its end.
__device__ __forceinline__ float4 load4(const float* x, int e, int d) {
    if ((d & 3) == 0) return e < d ? *(const float4*)(x + e) : make_float4(0, 0, 0, 0);
    return make_float4(e < d ? x[e] : 0.0f, e + 1 < d ? x[e + 1] : 0.0f, e + 2 < d ? x[e + 2] : 0.0f, e + 3 < d ? x[e + 3] : 0.0f);
}

// four is load4 for rows of whole fours.
__device__ __forceinline__ float4 four(const float* x, int e, int d) { return e < d ? *(const float4*)(x + e) : make_float4(0, 0, 0, 0); }

__device__ __forceinline__ float squares(float4 v, float s) { return fmaf(v.w, v.w, fmaf(v.z, v.z, fmaf(v.y, v.y, fmaf(v.x, v.x, s)))); }

__device__ __forceinline__ float largest(float4 v, float m) {
    return fmaxf(fmaxf(fmaxf(m, fabsf(v.x)), fmaxf(fabsf(v.y), fabsf(v.z))), fabsf(v.w));
}

// products are what the largest of a row is taken of, before its norm is known.
__device__ __forceinline__ float4 products(float4 x, float4 g) {
    return make_float4(__fmul_rn(x.x, g.x), __fmul_rn(x.y, g.y), __fmul_rn(x.z, g.z), __fmul_rn(x.w, g.w));
}

__device__ __forceinline__ float4 normed4(float4 x, float r, float4 g) {
    return make_float4(normed(x.x, r, g.x), normed(x.y, r, g.y), normed(x.z, r, g.z), normed(x.w, r, g.w));
}

// code_bits is act_code's byte, below bits of no meaning, for products that rounding can
// not lead out of -qmax..qmax: added to 1.5*2^23, a float has its nearest integer, half to
// even, in its lowest bits. What is not a number has code 0.
__device__ __forceinline__ unsigned code_bits(float x, float s) {
    float v = __fmul_rn(x, s);
    return v == v ? __float_as_uint(__fadd_rn(v, 12582912.0f)) : 0;
}

// codes4 is four codes in a word, the first in the low byte; s is the scale of a row that
// x is of.
__device__ __forceinline__ int codes4(float4 x, float s) {
    unsigned low = __byte_perm(code_bits(x.x, s), code_bits(x.y, s), 0x0040);
    unsigned high = __byte_perm(code_bits(x.z, s), code_bits(x.w, s), 0x0040);
    return (int)__byte_perm(low, high, 0x5410);
}

// Row is the block's share of a row of d elements and of its norm's weights, in
// registers as far as HELD steps go.
template <int HELD>
struct Row {
    const float *x, *g;
    int d;
    float4 v[HELD], w[HELD];

    __device__ __forceinline__ Row(const float* x, const float* g, int d) : x(x), g(g), d(d) {
        int first = 4 * threadIdx.x;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            v[i] = load4(x, first + i * ROW_STEP, d);
            w[i] = load4(g, first + i * ROW_STEP, d);
        }
    }

    // each calls f(i, e, x, g) for the thread's elements e to e+3, its i-th.
    template <typename F>
    __device__ __forceinline__ void each(F f) const {
        int first = 4 * threadIdx.x;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            if (first + i * ROW_STEP < d) f(i, first + i * ROW_STEP, v[i], w[i]);
        }
        for (int i = HELD, e = first + HELD * ROW_STEP; e < d; i++, e += ROW_STEP) f(i, e, load4(x, e, d), load4(g, e, d));
    }
};

// Sums is what warps of a block leave of a row: sums of squares, and the largest
// product of an element and its weight.
struct Sums {
    float square[SLOTS], most[WARPS];
};

// warp_sums is the warp's sum of one of N values, a power of two, that of index
// lane*N/32: in the order of warp_sum, with fewer exchanges than one after the other.
template <int N>
__device__ __forceinline__ float warp_sums(float (&v)[N]) {
    const int lane = threadIdx.x & 31;
    int o = 16;
#pragma unroll
    for (int n = N / 2; n > 0; n /= 2, o /= 2) {
        const bool high = lane & o;
#pragma unroll
        for (int i = 0; i < n; i++) {
            float other = high ? v[i] : v[i + n];
            v[i] = __fadd_rn(high ? v[i + n] : v[i], __shfl_xor_sync(FULL_WARP, other, o));
        }
    }
    float s = v[0];
#pragma unroll
    for (; o > 0; o /= 2) s = __fadd_rn(s, __shfl_xor_sync(FULL_WARP, s, o));
    return s;
}

// keep_sums puts the sums of squares of a warp's N slots where slot(i) is the i-th's.
template <int N, typename Slot>
__device__ __forceinline__ void keep_sums(Sums* sums, float (&v)[N], Slot slot) {
    const int lane = threadIdx.x & 31;
    float s = warp_sums(v);
    if (lane % (32 / N) == 0) sums->square[slot(lane / (32 / N))] = s;
}

// sum_slots is the sum of the first n slots.
__device__ __forceinline__ float sum_slots(const Sums* sums, int n) {
    int lane = threadIdx.x & 31;
    float s = lane < n ? sums->square[lane] : 0.0f;
    if (n > 32) s = __fadd_rn(s, lane + 32 < n ? sums->square[lane + 32] : 0.0f);
    return warp_sum(s);
}

// slots is how many slots of a row of d elements are in use.
__device__ __forceinline__ int slots(int d) { return min(SLOTS, (d + CHUNK - 1) / CHUNK); }

// most_of is the largest of the warp's values, which are not negative: as integers
// such floats have the same order.
__device__ __forceinline__ float most_of(float v) { return __uint_as_float(__reduce_max_sync(FULL_WARP, __float_as_uint(v))); }

// Mean is what it takes to make 1/sqrt(square/d+eps) of a sum of squares: 1/d in two
// parts, and eps.
struct Mean {
    float high, low, eps;

    __device__ __forceinline__ Mean(float high, float low, float eps) : high(high), low(low), eps(eps) {}

    __device__ __forceinline__ Mean(int d, double eps) : eps((float)eps) {
        double per = 1.0 / (double)d;
        high = (float)per, low = (float)(per - (double)high);
    }

    // inverse_root is nearly always the correctly rounded one: a step of Newton's from
    // the processor's estimate, with the rounding errors of what leads to it (sums and
    // products in two parts: Dekker, A floating-point technique for extending the
    // available precision, 1971).
    __device__ __forceinline__ float inverse_root(float square) const {
        float p = __fmul_rn(square, high), pl = fmaf(square, low, fmaf(square, high, -p));
        float s = __fadd_rn(p, eps), e = __fsub_rn(s, p);
        float sl = __fadd_rn(__fadd_rn(__fsub_rn(p, __fsub_rn(s, e)), __fsub_rn(eps, e)), pl);
        float r = rsqrtf(s), t = __fmul_rn(s, r), tl = fmaf(s, r, -t);
        float rest = fmaf(-fmaf(sl, r, tl), r, fmaf(-t, r, 1.0f));
        return fmaf(__fmul_rn(0.5f, r), rest, r);
    }
};

// quantize_row calls put(e, codes of elements e to e+3) for the thread's share of
// a row, normalised, and returns the scale to every thread. Codes beyond the row's
// end are zero. All threads must call it; sums must not be in use.
template <int HELD, typename Put>
__device__ __forceinline__ float quantize_row(const Row<HELD>& row, Sums* sums, const Mean& mean, float qmax, Put put) {
    constexpr int PER = SLOTS / (ROW_THREADS / 32);  // slots of a warp
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float square[PER] = {}, most = 0.0f;
    row.each([&](int i, int, float4 x, float4 g) {
#pragma unroll
        for (int j = 0; j < PER; j++) {
            if (i % PER == j) square[j] = squares(x, square[j]);
        }
        most = largest(products(x, g), most);
    });
    most = most_of(most);
    keep_sums(sums, square, [&](int j) { return j * (ROW_THREADS / 32) + warp; });
    if (lane == 0) sums->most[warp] = most;
    __syncthreads();
    float r = mean.inverse_root(sum_slots(sums, slots(row.d)));
    float sc = act_scale(__fmul_rn(most_of(sums->most[lane & 15]), r), qmax);
    row.each([&](int, int e, float4 x, float4 g) { put(e, codes4(normed4(x, r, g), sc)); });
    return sc;
}
