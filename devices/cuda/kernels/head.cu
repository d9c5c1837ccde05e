// The whole output head: logits of few tokens.
#include "common.cuh"
#include "head.cuh"

#define HEAD_TOKENS 8

// y = x·wᵀ for MT tokens of x f32[m,k] at a time and rows of w [n,k]. Tokens lie
// in shared memory, [MT][k]. A warp takes one row after the other.
template <int MT, typename T>
__device__ __forceinline__ void head(const float* x, const T* w, float* y, int m, int n, int k) {
    DYNAMIC_SHARED(float, tokens);
    launch_dependents();
    grid_dependency_wait();
    int m0 = blockIdx.y * MT, count = min(MT, m - m0);
    for (int i = threadIdx.x; i < count * k; i += blockDim.x) tokens[i] = x[(size_t)m0 * k + i];
    __syncthreads();
    int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    bool aligned = aligned_rows<T>(k);
    for (int r = blockIdx.x * warps + (threadIdx.x >> 5); r < n; r += gridDim.x * warps) {
        const T* row = w + (size_t)r * k;
        float s[MT];
#pragma unroll
        for (int t = 0; t < MT; t++) s[t] = 0.0f;
#pragma unroll 5
        for (int e = 8 * lane; e < k; e += 256) {
            float v[8];
            weights8(v, row, e, k, aligned);
#pragma unroll
            for (int t = 0; t < MT; t++) {
                if (t >= count) continue;
#pragma unroll
                for (int i = 0; i < 8; i++) s[t] = fmaf(v[i], e + i < k ? tokens[t * k + e + i] : 0.0f, s[t]);
            }
        }
#pragma unroll
        for (int t = 0; t < MT; t++) {
            if (t >= count) continue;
            float sum = warp_sum(s[t]);
            if (lane == 0) y[(size_t)(m0 + t) * n + r] = sum;
        }
    }
}

#define HEAD(name, T)                                                                                            \
    KERNEL(256, 2, head1_##name)(const float* x, const T* w, float* y, int m, int n, int k) { head<1>(x, w, y, m, n, k); } \
    KERNEL(256, 2, head8_##name)(const float* x, const T* w, float* y, int m, int n, int k) { head<HEAD_TOKENS>(x, w, y, m, n, k); }
HEAD(f32, float)
HEAD(f16, F16)
HEAD(bf16, BF16)
