// Weight quantization in training: the mean magnitude of a whole matrix, added
// in double in an order that depends on its size alone, or of groups along rows.
#include "element.cuh"

// absmean_parts writes one sum for each block.
template <typename T>
__device__ __forceinline__ void absmean_parts(const T* w, double* part, long long n) {
    double s = 0.0;
    EACH(i, n) s += (double)fabsf(widen(w[i]));
    s = block_sum(s);
    if (threadIdx.x == 0) part[blockIdx.x] = s;
}

// inverse_scale is 1/max(mean, 1e-5) in f32 of the mean of n weights.
__device__ __forceinline__ float inverse_scale(double sum, long long n) {
    float mean = (float)(sum / (double)(n > 0 ? n : 1));
    // max of a mean that is not a number is that
    return __frcp_rn(mean < 1e-5f ? 1e-5f : mean);
}

// parts_scale adds up the parts, in each block again.
__device__ __forceinline__ float parts_scale(const double* part, int parts, long long n) {
    double s = 0.0;
    for (int i = threadIdx.x; i < parts; i += blockDim.x) s += part[i];
    return inverse_scale(block_sum(s), n);
}

__device__ __forceinline__ int ternary_code(float w, float s) {
    float p = __fmul_rn(w, s);
    return p > 0.5f ? 1 : p < -0.5f ? -1 : 0;
}

// The result is a float of its code divided by the scale.
template <typename T, typename U>
__device__ __forceinline__ void fake_whole(const T* w, const double* part, int parts, U* y, long long n) {
    float s = parts_scale(part, parts, n);
    float unit = __fdiv_rn(1.0f, s), zero = __fdiv_rn(0.0f, s);
    EACH(i, n) {
        int c = ternary_code(widen(w[i]), s);
        put(y + i, c > 0 ? unit : c < 0 ? -unit : zero);
    }
}

template <typename T>
__device__ __forceinline__ void quantize_whole(const T* w, const double* part, int parts, i8* t, float* gamma, long long n) {
    float s = parts_scale(part, parts, n);
    if (blockIdx.x == 0 && threadIdx.x == 0) gamma[0] = __fdiv_rn(1.0f, s);
    EACH(i, n) t[i] = (i8)ternary_code(widen(w[i]), s);
}

// A warp has a group.
template <typename T, typename U>
__device__ __forceinline__ void quantize_groups(const T* w, U* y, i8* t, float* gamma, long long groups, int size) {
    long long g = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    int lane = threadIdx.x % 32;
    if (g >= groups) return;
    w += g * size;
    double sum = 0.0;
    for (int i = lane; i < size; i += 32) sum += (double)fabsf(widen(w[i]));
    float s = inverse_scale(warp_sum(sum), size), unit = __fdiv_rn(1.0f, s), zero = __fdiv_rn(0.0f, s);
    for (int i = lane; i < size; i += 32) {
        int c = ternary_code(widen(w[i]), s);
        if (y) put(y + g * size + i, c > 0 ? unit : c < 0 ? -unit : zero);
        if (t) t[g * size + i] = (i8)c;
    }
    if (gamma && lane == 0) gamma[g] = unit;
}

#define TERNARY(name, T)                                                                                                                  \
    extern "C" __global__ void absmean_##name(const T* w, double* part, long long n) { absmean_parts(w, part, n); }                      \
    extern "C" __global__ void ternary_quantize_##name(const T* w, const double* part, int parts, i8* t, float* gamma, long long n) {    \
        quantize_whole(w, part, parts, t, gamma, n);                                                                                     \
    }                                                                                                                                     \
    extern "C" __global__ void ternary_fake_##name##_f32(const T* w, const double* part, int parts, float* y, long long n) {             \
        fake_whole(w, part, parts, y, n);                                                                                                \
    }                                                                                                                                     \
    extern "C" __global__ void ternary_groups_##name(const T* w, i8* t, float* gamma, long long groups, int size) {                      \
        quantize_groups(w, (float*)0, t, gamma, groups, size);                                                                           \
    }                                                                                                                                     \
    extern "C" __global__ void ternary_fake_groups_##name##_f32(const T* w, float* y, long long groups, int size) {                      \
        quantize_groups(w, y, (i8*)0, (float*)0, groups, size);                                                                          \
    }

TERNARY(f32, float)
TERNARY(bf16, bf16)
TERNARY(f16, f16)

// Masters are f32 where the result is bf16.
extern "C" __global__ void ternary_fake_f32_bf16(const float* w, const double* part, int parts, bf16* y, long long n) {
    fake_whole(w, part, parts, y, n);
}
extern "C" __global__ void ternary_fake_groups_f32_bf16(const float* w, bf16* y, long long groups, int size) {
    quantize_groups(w, y, (i8*)0, (float*)0, groups, size);
}

// Codes back to floats: y = q / s[row], and y = t·gamma.
template <typename U>
__device__ __forceinline__ void dequant(const i8* q, const float* s, U* y, long long n, int d) {
    EACH(i, n) put(y + i, __fdiv_rn((float)q[i], s[i / d]));
}

extern "C" __global__ void dequant_f32(const i8* q, const float* s, float* y, long long n, int d) { dequant(q, s, y, n, d); }
extern "C" __global__ void dequant_bf16(const i8* q, const float* s, bf16* y, long long n, int d) { dequant(q, s, y, n, d); }

template <typename U>
__device__ __forceinline__ void ternary_dequant(const i8* t, const float* gamma, U* y, long long n) {
    float g = gamma[0];
    EACH(i, n) put(y + i, __fmul_rn((float)t[i], g));
}

extern "C" __global__ void ternary_dequant_f32(const i8* t, const float* gamma, float* y, long long n) { ternary_dequant(t, gamma, y, n); }
extern "C" __global__ void ternary_dequant_bf16(const i8* t, const float* gamma, bf16* y, long long n) { ternary_dequant(t, gamma, y, n); }
