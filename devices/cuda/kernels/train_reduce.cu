// Sums over whole tensors and along axes, and copies between strided tensors.
#include "element.cuh"

struct itself {
    __device__ __forceinline__ double operator()(double v) const { return v; }
};
struct squared {
    __device__ __forceinline__ double operator()(double v) const { return v * v; }
};

// total adds f(x) in double; a grid of one block writes y, a larger one a part
// each, which total_parts adds up. The order depends on n alone.
template <typename T, typename F>
__device__ __forceinline__ void total(const T* x, double* part, float* y, long long n, F f) {
    const int P = PACK(T);
    double s = 0.0;
    EACH(i, n / P) {
        float v[P];
        load_pack(x + i * P, v);
#pragma unroll
        for (int j = 0; j < P; j++) s += f((double)v[j]);
    }
    long long i = n / P * P + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) s += f((double)widen(x[i]));
    s = block_sum(s);
    if (threadIdx.x > 0) return;
    if (gridDim.x == 1) {
        y[0] = (float)s;
    } else {
        part[blockIdx.x] = s;
    }
}

extern "C" __global__ void sum_f32(const float* x, double* part, float* y, long long n) { total(x, part, y, n, itself()); }
extern "C" __global__ void sum_bf16(const bf16* x, double* part, float* y, long long n) { total(x, part, y, n, itself()); }
extern "C" __global__ void sqsum_f32(const float* x, double* part, float* y, long long n) { total(x, part, y, n, squared()); }

extern "C" __global__ void total_parts(const double* part, float* y, int n) {
    double s = 0.0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) s += part[i];
    s = block_sum(s);
    if (threadIdx.x == 0) y[0] = (float)s;
}

// Axes describes loops over a tensor: extents, outermost first, and for two
// tensors the distance between neighbours along each and the place of the first
// element. It is what the Go side calls axes.
struct Axes {
    int rank, unused;
    long long n[6], from[6], to[6], at_from, at_to;
};

__device__ __forceinline__ long long places(const Axes& a, long long i, long long& to) {
    long long from = a.at_from;
    to = a.at_to;
    for (int k = a.rank - 1; k >= 0; k--) {
        long long c = i % a.n[k];
        i /= a.n[k];
        from += c * a.from[k];
        to += c * a.to[k];
    }
    return from;
}

// copy_axes is y[to] = x[from], and scale_axes multiplies.
template <typename T>
__device__ __forceinline__ void copy_axes(const T* x, T* y, const Axes& a, long long n) {
    EACH(i, n) {
        long long to, from = places(a, i, to);
        y[to] = x[from];
    }
}

extern "C" __global__ void copy_axes_32(const unsigned* x, unsigned* y, Axes a, long long n) { copy_axes(x, y, a, n); }
extern "C" __global__ void copy_axes_16(const u16* x, u16* y, Axes a, long long n) { copy_axes(x, y, a, n); }

template <typename T>
__device__ __forceinline__ void scale_axes(const T* x, T* y, const Axes& a, long long n, double by) {
    EACH(i, n) {
        long long to, from = places(a, i, to);
        put(y + to, (float)((double)widen(x[from]) * by));
    }
}

extern "C" __global__ void scale_axes_f32(const float* x, float* y, Axes a, long long n, double by) { scale_axes(x, y, a, n, by); }
extern "C" __global__ void scale_axes_bf16(const bf16* x, bf16* y, Axes a, long long n, double by) { scale_axes(x, y, a, n, by); }

// zero clears n bytes.
extern "C" __global__ void zero_bytes(u8* y, long long n) {
    EACH(i, n) y[i] = 0;
}

// sum_axes is y[o] = by·Σ_r x[from(o)+from(r)] over m elements r, with a warp for
// each of n outputs; sum_columns does it with a thread, where neighbouring
// outputs are neighbours in x.
template <typename T>
__device__ __forceinline__ void sum_axes(const T* x, T* y, const Axes& out, const Axes& in, long long n, long long m, double by) {
    long long warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long o = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; o < n; o += warps) {
        long long to, base = places(out, o, to), ignored;
        double s = 0.0;
        for (long long r = threadIdx.x % 32; r < m; r += 32) s += (double)widen(x[base + places(in, r, ignored)]);
        s = warp_sum(s);
        if (threadIdx.x % 32 == 0) put(y + to, (float)(s * by));
    }
}

template <typename T>
__device__ __forceinline__ void sum_columns(const T* x, T* y, const Axes& out, const Axes& in, long long n, long long m, double by) {
    EACH(o, n) {
        long long to, base = places(out, o, to), ignored;
        double s = 0.0;
        for (long long r = 0; r < m; r++) s += (double)widen(x[base + places(in, r, ignored)]);
        put(y + to, (float)(s * by));
    }
}

extern "C" __global__ void sum_axes_f32(const float* x, float* y, Axes out, Axes in, long long n, long long m, double by) {
    sum_axes(x, y, out, in, n, m, by);
}
extern "C" __global__ void sum_axes_bf16(const bf16* x, bf16* y, Axes out, Axes in, long long n, long long m, double by) {
    sum_axes(x, y, out, in, n, m, by);
}
extern "C" __global__ void sum_columns_f32(const float* x, float* y, Axes out, Axes in, long long n, long long m, double by) {
    sum_columns(x, y, out, in, n, m, by);
}
extern "C" __global__ void sum_columns_bf16(const bf16* x, bf16* y, Axes out, Axes in, long long n, long long m, double by) {
    sum_columns(x, y, out, in, n, m, by);
}
