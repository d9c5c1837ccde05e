// Elementwise functions and their gradients, for f32 and bf16: any grid covers
// n elements, 16 bytes a thread at a time.
#include "element.cuh"
#include "philox.cuh"

// map1 is y = f(x).
template <typename T, typename F>
__device__ __forceinline__ void map1(const T* x, T* y, long long n, F f) {
    const int P = PACK(T);
    EACH(i, n / P) {
        float v[P];
        load_pack(x + i * P, v);
#pragma unroll
        for (int j = 0; j < P; j++) v[j] = f(v[j]);
        store_pack(y + i * P, v);
    }
    long long i = n / P * P + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put(y + i, f(widen(x[i])));
}

// map2 is y = f(a, b); b is one element if scalar is set.
template <typename T, typename F>
__device__ __forceinline__ void map2(const T* a, const T* b, T* y, long long n, int scalar, F f) {
    const int P = PACK(T);
    float s = scalar ? widen(b[0]) : 0.0f;
    EACH(i, n / P) {
        float v[P], w[P];
        load_pack(a + i * P, v);
        if (!scalar) load_pack(b + i * P, w);
#pragma unroll
        for (int j = 0; j < P; j++) v[j] = f(v[j], scalar ? s : w[j]);
        store_pack(y + i * P, v);
    }
    long long i = n / P * P + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put(y + i, f(widen(a[i]), scalar ? s : widen(b[i])));
}

// UNARY makes the kernels of y = f and dx = df·dy, both of x.
#define UNARY(name, f, df)                                                                                          \
    struct name##_value {                                                                                           \
        __device__ __forceinline__ float operator()(float x) const { return f; }                                    \
    };                                                                                                              \
    struct name##_slope {                                                                                           \
        __device__ __forceinline__ float operator()(float x, float dy) const { return __fmul_rn(df, dy); }          \
    };                                                                                                              \
    extern "C" __global__ void name##_f32(const float* x, float* y, long long n) { map1(x, y, n, name##_value()); } \
    extern "C" __global__ void name##_bf16(const bf16* x, bf16* y, long long n) { map1(x, y, n, name##_value()); }  \
    extern "C" __global__ void name##_grad_f32(const float* x, const float* dy, float* dx, long long n) {           \
        map2(x, dy, dx, n, 0, name##_slope());                                                                      \
    }                                                                                                               \
    extern "C" __global__ void name##_grad_bf16(const bf16* x, const bf16* dy, bf16* dx, long long n) {             \
        map2(x, dy, dx, n, 0, name##_slope());                                                                      \
    }

// A value that is not a number stays one.
__device__ __forceinline__ float rectify(float x) { return x <= 0.0f ? 0.0f : x; }

__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float silu_slope_of(float x) {
    float s = sigmoid_of(x);
    return s * (1.0f + x * (1.0f - s));
}

__device__ __forceinline__ float sigmoid_slope_of(float x) {
    float s = sigmoid_of(x);
    return s * (1.0f - s);
}

// gauss is Φ(x); erfc keeps its lower tail exact.
__device__ __forceinline__ float gauss(float x) { return 0.5f * erfcf(-0.70710678118654752f * x); }

__device__ __forceinline__ float gelu_slope_of(float x) {
    return gauss(x) + x * expf(-0.5f * x * x) * 0.39894228040143268f;
}

__device__ __forceinline__ float tanh_slope_of(float x) {
    float c = coshf(x);
    return 1.0f / (c * c);
}

__device__ __forceinline__ float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }

UNARY(relu, rectify(x), x >= 0.0f ? 1.0f : 0.0f)
UNARY(relu2, __fmul_rn(rectify(x), rectify(x)), 2.0f * rectify(x))
UNARY(silu, x * sigmoid_of(x), silu_slope_of(x))
UNARY(gelu, x * gauss(x), gelu_slope_of(x))
UNARY(sigmoid, sigmoid_of(x), sigmoid_slope_of(x))
UNARY(tanh, tanhf(x), tanh_slope_of(x))
UNARY(softplus, fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))), sigmoid_of(x))
UNARY(exp, expf(x), expf(x))
UNARY(expm1, expm1f(x), expf(x))
UNARY(log, logf(x), __fdiv_rn(1.0f, x))
UNARY(log1p, log1pf(x), __fdiv_rn(1.0f, __fadd_rn(1.0f, x)))
UNARY(sqrt, __fsqrt_rn(x), __fdiv_rn(0.5f, __fsqrt_rn(x)))
UNARY(sin, sinf(x), cosf(x))
UNARY(cos, cosf(x), -sinf(x))
UNARY(abs, fabsf(x), sign_of(x))

// BINARY makes the kernels of y = f of a and b; b may be one element.
#define BINARY(name, f)                                                                                                  \
    struct name##_of {                                                                                                   \
        __device__ __forceinline__ float operator()(float a, float b) const { return f; }                                \
    };                                                                                                                   \
    extern "C" __global__ void name##_f32(const float* a, const float* b, float* y, long long n, int scalar) {           \
        map2(a, b, y, n, scalar, name##_of());                                                                           \
    }                                                                                                                    \
    extern "C" __global__ void name##_bf16(const bf16* a, const bf16* b, bf16* y, long long n, int scalar) {             \
        map2(a, b, y, n, scalar, name##_of());                                                                           \
    }

BINARY(add, __fadd_rn(a, b))
BINARY(sub, __fsub_rn(a, b))
BINARY(mul, __fmul_rn(a, b))
BINARY(div, __fdiv_rn(a, b))
BINARY(compare_lt, a < b ? 1.0f : 0.0f)
BINARY(compare_le, a <= b ? 1.0f : 0.0f)
BINARY(compare_gt, a > b ? 1.0f : 0.0f)
BINARY(compare_ge, a >= b ? 1.0f : 0.0f)
BINARY(compare_eq, a == b ? 1.0f : 0.0f)
BINARY(compare_ne, a != b ? 1.0f : 0.0f)

struct times {
    float by;
    __device__ __forceinline__ float operator()(float x) const { return __fmul_rn(x, by); }
};

extern "C" __global__ void scale_f32(const float* x, float* y, long long n, float by) { map1(x, y, n, times{by}); }
extern "C" __global__ void scale_bf16(const bf16* x, bf16* y, long long n, float by) { map1(x, y, n, times{by}); }

// fill repeats a scalar.
template <typename T>
__device__ __forceinline__ void repeat(const float* v, T* y, long long n) {
    float s = v[0];
    EACH(i, n) put(y + i, s);
}

extern "C" __global__ void fill_f32(const float* v, float* y, long long n) { repeat(v, y, n); }
extern "C" __global__ void fill_bf16(const float* v, bf16* y, long long n) { repeat(v, y, n); }

// quant.blend: x + lambda·(q − x), exactly x or q at the ends.
template <typename T>
__device__ __forceinline__ void blend(const T* x, const T* q, const float* lambda, T* y, long long n) {
    const int P = PACK(T);
    float l = lambda[0];
    EACH(i, (n + P - 1) / P) {
        for (int j = 0; j < P; j++) {
            long long k = i * P + j;
            if (k >= n) break;
            float v = widen(x[k]), w = widen(q[k]);
            put(y + k, l >= 1.0f ? w : l <= 0.0f ? v : __fadd_rn(v, __fmul_rn(l, __fsub_rn(w, v))));
        }
    }
}

extern "C" __global__ void blend_f32(const float* x, const float* q, const float* lambda, float* y, long long n) {
    blend(x, q, lambda, y, n);
}
extern "C" __global__ void blend_bf16(const bf16* x, const bf16* q, const float* lambda, bf16* y, long long n) {
    blend(x, q, lambda, y, n);
}

// cast converts between types, eight elements a thread.
template <typename A, typename B>
__device__ __forceinline__ void convert(const A* x, B* y, long long n) {
    EACH(i, n) put(y + i, widen(x[i]));
}

extern "C" __global__ void cast_f32_f16(const float* x, f16* y, long long n) { convert(x, y, n); }
extern "C" __global__ void cast_f16_f32(const f16* x, float* y, long long n) { convert(x, y, n); }
extern "C" __global__ void cast_bf16_f16(const bf16* x, f16* y, long long n) { convert(x, y, n); }
extern "C" __global__ void cast_f16_bf16(const f16* x, bf16* y, long long n) { convert(x, y, n); }

extern "C" __global__ void cast_f32_bf16(const float* x, bf16* y, long long n) {
    EACH(i, n / 8) {
        float v[8];
        load_f32(x + i * 8, v);
        store_pack(y + i * 8, v);
    }
    long long i = n / 8 * 8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put(y + i, x[i]);
}

extern "C" __global__ void cast_bf16_f32(const bf16* x, float* y, long long n) {
    EACH(i, n / 8) {
        float v[8];
        load_pack(x + i * 8, v);
        store_f32(y + i * 8, v);
    }
    long long i = n / 8 * 8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = widen(x[i]);
}

// dropout draws eight elements of a row from each block of random words.
template <typename T>
__device__ __forceinline__ void dropout(const T* x, const int* at, T* y, int rows, int d, unsigned k0, unsigned k1, unsigned stream, unsigned threshold, float scale) {
    int eights = (d + 7) / 8;
    EACH(i, (long long)rows * eights) {
        long long row = i / eights;
        int c = (int)(i % eights) * 8;
        uint4 w = philox(k0, k1, make_uint4((unsigned)at[1] + (unsigned)row, c / 8, stream, at[0]));
        unsigned words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int j = 0; j < 8; j++) {
            if (c + j >= d) break;
            bool drop = (words[j / 2] >> j % 2 * 16 & 0xffffu) < threshold;
            put(y + row * d + c + j, drop ? 0.0f : __fmul_rn(widen(x[row * d + c + j]), scale));
        }
    }
}

extern "C" __global__ void dropout_f32(const float* x, const int* at, float* y, int rows, int d, int k0, int k1, int stream, int threshold, float scale) {
    dropout(x, at, y, rows, d, k0, k1, stream, threshold, scale);
}
extern "C" __global__ void dropout_bf16(const bf16* x, const int* at, bf16* y, int rows, int d, int k0, int k1, int stream, int threshold, float scale) {
    dropout(x, at, y, rows, d, k0, k1, stream, threshold, scale);
}
