// The planes of a screened head (ops/screen), made once when weights are loaded:
// the same bits as the reference's, so every operation is rounded as there.
#include "common.cuh"
#include "head.cuh"

#define COLUMNS 256  // of a block of both planes

struct Level {
    int u;
    float e4, e6;
};

// level is the code of a weight given in steps, -32 to 32, and its squared errors.
__device__ __forceinline__ Level level(float v) {
    int u = min(max(__float2int_rz(__fadd_rn(v, 64.0f)) - 32, 0), 63);
    float d = __fadd_rn(__fadd_rn(v, 31.5f), -(float)u);
    float e = __fadd_rn(__fadd_rn(d, (float)(u & 3)), -1.5f);
    return {u, __fmul_rn(e, e), __fmul_rn(d, d)};
}

__device__ __forceinline__ float up(double x) { return (float)__dmul_rn(x, 1.0 + 1e-6); }

// Four lanes share a row of w [n,k], in groups of four rows. Lane c of a row adds
// up the errors of columns 64c to 64c+63 of each whole block, and lane 0 of what
// is behind the last one: the chains of the reference.
template <typename T>
__device__ __forceinline__ void planes(const T* w, u8* nibbles, u8* crumbs, float* bounds, int n, int k, int cols) {
    int thread = blockIdx.x * blockDim.x + threadIdx.x;
    int r = thread >> 2, c = thread & 3;
    int padded = (n + 3) / 4 * 4;
    bool mine = r < n;
    const T* row = w + (size_t)min(r, n - 1) * k;
    u8* nib = nibbles + (size_t)(min(r, padded - 1) >> 2) * 4 * (cols / 2) + 64 * (r & 3);
    u8* crumb = crumbs + (size_t)(min(r, padded - 1) >> 2) * 4 * (cols / 4) + 64 * (r & 3);

    unsigned most = 0;
    double square = 0.0;
    if (mine) {
        for (int e = 0; e < k; e++) {
            float v = widen(row[e]);
            most = max(most, __float_as_uint(v) & 0x7fffffffu);
            square = __dadd_rn(square, __dmul_rn((double)v, (double)v));
        }
    }
    double norm = __dsqrt_rn(square);
    float s = __fmul_rn(__uint_as_float(most), 1.0f / 32);
    bool number = square <= 1.79769313486231570814527423731704356798070e308;
    bool coded = mine && number && s >= 1e-30f;
    float inv = coded ? __fdiv_rn(1.0f, s) : 0.0f;

    float sum4 = 0.0f, sum6 = 0.0f;
    int whole = k / COLUMNS * COLUMNS;
    for (int from = 0; from < cols; from += COLUMNS) {
        for (int j = 0; j < 64; j++) {
            Level l = {0, 0.0f, 0.0f};
            int e = from + 64 * c + j;
            if (coded && e < k) {
                l = level(__fmul_rn(widen(row[e]), inv));
                if (from < whole) sum4 = __fadd_rn(sum4, l.e4), sum6 = __fadd_rn(sum6, l.e6);
            }
            int nibble = l.u >> 2 << 4 * (c & 1), bits = (l.u & 3) << 2 * c;
            nibble |= __shfl_xor_sync(FULL_WARP, nibble, 1);
            bits |= __shfl_xor_sync(FULL_WARP, bits, 1);
            bits |= __shfl_xor_sync(FULL_WARP, bits, 2);
            if (r >= padded) continue;
            if ((c & 1) == 0) nib[from / 128 * 256 + (c >> 1) * 256 + j] = (u8)nibble;
            if (c == 0) crumb[from / COLUMNS * 256 + j] = (u8)bits;
        }
    }
    if (coded && c == 0) {
        for (int e = whole; e < k; e++) {
            Level l = level(__fmul_rn(widen(row[e]), inv));
            sum4 = __fadd_rn(sum4, l.e4), sum6 = __fadd_rn(sum6, l.e6);
        }
    }
    double total4 = 0.0, total6 = 0.0;
    for (int i = 0; i < 4; i++) {
        total4 = __dadd_rn(total4, (double)__shfl_sync(FULL_WARP, sum4, i, 4));
        total6 = __dadd_rn(total6, (double)__shfl_sync(FULL_WARP, sum6, i, 4));
    }
    if (!mine || c != 0) return;
    float* b = bounds + (size_t)r * 4;
    if (!number) {
        b[0] = 0.0f, b[1] = b[2] = b[3] = __uint_as_float(0x7f800000u);
    } else if (!coded) {
        b[0] = 0.0f, b[1] = b[2] = b[3] = up(norm);
    } else {
        double grow = __dadd_rn(1.0, __ddiv_rn((double)(k + 8), (double)(1 << 24))), rest = __dmul_rn(1e-6, norm);
        b[0] = s;
        b[1] = up(__dadd_rn(__dmul_rn(__dmul_rn((double)s, __dsqrt_rn(total4)), grow), rest));
        b[2] = up(__dadd_rn(__dmul_rn(__dmul_rn((double)s, __dsqrt_rn(total6)), grow), rest));
        b[3] = up(norm);
    }
}

#define PLANES(name, T)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(128)                                                                               \
        screen_planes_##name(const T* w, u8* nibbles, u8* crumbs, float* bounds, int n, int k, int cols) { \
        planes(w, nibbles, crumbs, bounds, n, k, cols);                                                                             \
    }
PLANES(f32, float)
PLANES(f16, f16)
PLANES(bf16, bf16)
