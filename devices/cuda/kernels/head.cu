// The whole output head: logits of few tokens.
#include "common.cuh"
#include "head.cuh"

#define HEAD_TOKENS 8

// token_place is where column e of a token lies in shared memory: the two halves of
// the eight columns of a lane apart, so that lanes read 16 bytes beside each other.
__device__ __forceinline__ int token_place(int e) { return (e & ~255) | (e >> 2 & 1) << 7 | (e >> 3 & 31) << 2 | (e & 3); }

// y = x·wᵀ for MT tokens of x f32[m,k] at a time and rows of w [n,k]. Tokens lie in
// shared memory, filled up with zeros to whole 256 columns. A warp takes two rows
// at a time.
template <int MT, typename T>
__device__ __forceinline__ void head(const float* x, const T* w, float* y, int m, int n, int k) {
    DYNAMIC_SHARED(float, tokens);
    launch_dependents();
    grid_dependency_wait();
    int m0 = blockIdx.y * MT, count = min(MT, m - m0), pitch = (k + 255) / 256 * 256;
    for (int i = threadIdx.x; i < count * pitch; i += blockDim.x) {
        int t = i / pitch, e = i % pitch;
        tokens[t * pitch + token_place(e)] = e < k ? x[(size_t)(m0 + t) * k + e] : 0.0f;
    }
    __syncthreads();
    int lane = threadIdx.x & 31, warps = blockDim.x >> 5;
    bool aligned = aligned_rows<T>(k);
    for (int r = 2 * (blockIdx.x * warps + (threadIdx.x >> 5)); r < n; r += 2 * gridDim.x * warps) {
        const T *first = w + (size_t)r * k, *second = w + (size_t)min(r + 1, n - 1) * k;
        float s[2][MT];
#pragma unroll
        for (int t = 0; t < MT; t++) s[0][t] = s[1][t] = 0.0f;
#pragma unroll(MT == 1 ? 5 : 2)
        for (int e = 8 * lane; e < k; e += 256) {
            float v[2][8];
            weights8(v[0], first, e, k, aligned);
            weights8(v[1], second, e, k, aligned);
            const float* at = tokens + (e & ~255) + 4 * lane;
#pragma unroll
            for (int t = 0; t < MT; t++) {
                if (t >= count) continue;
                float4 a = *(const float4*)(at + t * pitch), b = *(const float4*)(at + t * pitch + 128);
                const float z[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    s[0][t] = fmaf(v[0][i], z[i], s[0][t]);
                    s[1][t] = fmaf(v[1][i], z[i], s[1][t]);
                }
            }
        }
#pragma unroll
        for (int t = 0; t < MT; t++) {
            if (t >= count) continue;
            float a = warp_sum(s[0][t]), b = warp_sum(s[1][t]);
            if (lane == 0) y[(size_t)(m0 + t) * n + r] = a;
            if (lane == 0 && r + 1 < n) y[(size_t)(m0 + t) * n + r + 1] = b;
        }
    }
}

#define HEAD(name, T)                                                                                            \
    KERNEL(256, 2, head1_##name)(const float* x, const T* w, float* y, int m, int n, int k) { head<1>(x, w, y, m, n, k); } \
    KERNEL(256, 2, head8_##name)(const float* x, const T* w, float* y, int m, int n, int k) { head<HEAD_TOKENS>(x, w, y, m, n, k); }
HEAD(f32, float)
HEAD(f16, f16)
HEAD(bf16, bf16)
