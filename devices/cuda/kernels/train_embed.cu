// Embeddings, rows picked by index, and rotary positions.
#include "element.cuh"

// rows_of copies row ids[i] of a table of n rows of d elements; an id outside of
// it gives NaN. A block has a row.
template <typename A, typename B>
__device__ __forceinline__ void rows_of(const A* table, const int* ids, B* y, int n, int d) {
    int id = ids[blockIdx.x];
    bool in = id >= 0 && id < n;
    for (int k = threadIdx.x; k < d; k += blockDim.x)
        put(y + (long long)blockIdx.x * d + k, in ? widen(table[(long long)id * d + k]) : __int_as_float(0x7fc00000));
}


#define EMBEDDING(name, A, B)                                                                                        \
    extern "C" __global__ void embedding_##name(const A* table, const int* ids, B* y, int n, int d) {                \
        rows_of(table, ids, y, n, d);                                                                                \
    }

EMBEDDING(f32_f32, float, float)
EMBEDDING(bf16_f32, bf16, float)
EMBEDDING(f16_f32, f16, float)
EMBEDDING(f32_bf16, float, bf16)
EMBEDDING(bf16_bf16, bf16, bf16)
EMBEDDING(f16_bf16, f16, bf16)

// WIDE is how many columns a warp of embedding_grad has.
#define WIDE 256

// embedding_grad gives a warp one row of the table and WIDE columns. It looks
// through all tokens, 128 at a time, for those of its row and adds their rows in
// order, so nothing depends on timing and nothing is added twice.
template <typename T, typename U>
__device__ __forceinline__ void embedding_grad(const int* ids, const T* dy, U* y, int tokens, int rows, int d) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    int from = blockIdx.y * WIDE + lane;
    if (row >= rows) return;
    float sum[WIDE / 32];
#pragma unroll
    for (int c = 0; c < WIDE / 32; c++) sum[c] = 0.0f;
    for (int base = 0; base < tokens; base += 128) {
        unsigned mine = 0;
        int i = base + 4 * lane;
        if (i + 4 <= tokens) {
            int4 v = *(const int4*)(ids + i);
            mine = (v.x == row) | (v.y == row) << 1 | (v.z == row) << 2 | (v.w == row) << 3;
        } else {
            for (int j = 0; j < 4 && i + j < tokens; j++) mine |= (unsigned)(ids[i + j] == row) << j;
        }
        for (unsigned lanes = __ballot_sync(FULL_WARP, mine != 0); lanes; lanes &= lanes - 1) {
            int l = __ffs(lanes) - 1;
            for (unsigned m = __shfl_sync(FULL_WARP, mine, l); m; m &= m - 1) {
                const T* from_row = dy + (long long)(base + 4 * l + __ffs(m) - 1) * d;
#pragma unroll
                for (int c = 0; c < WIDE / 32; c++) {
                    if (from + 32 * c < d) sum[c] = __fadd_rn(sum[c], widen(from_row[from + 32 * c]));
                }
            }
        }
    }
#pragma unroll
    for (int c = 0; c < WIDE / 32; c++) {
        if (from + 32 * c < d) put(y + (long long)row * d + from + 32 * c, sum[c]);
    }
}

extern "C" __global__ void __launch_bounds__(256) embedding_grad_f32(const int* ids, const float* dy, float* y, int tokens, int rows, int d) {
    embedding_grad(ids, dy, y, tokens, rows, d);
}
extern "C" __global__ void __launch_bounds__(256) embedding_grad_bf16(const int* ids, const bf16* dy, float* y, int tokens, int rows, int d) {
    embedding_grad(ids, dy, y, tokens, rows, d);
}

// Frequencies holds theta^(−2i/head_dim), which the host rounds as the op says.
struct Frequencies {
    float f[256];
};

// rope rotates the heads of a few tokens a block: angles first, in shared
// memory, then all heads by them. sign is −1 for the inverse.
template <typename T>
__device__ __forceinline__ void rope(const T* x, const int* pos, T* y, int tokens, int d, int half, float sign, const Frequencies& f) {
    DYNAMIC_SHARED(float2, angle);
    int per = blockDim.x / 32;  // tokens of the block
    int first = blockIdx.x * per, many = min(per, tokens - first);
    for (int i = threadIdx.x; i < many * half; i += blockDim.x) {
        float a = __fmul_rn((float)pos[first + i / half], f.f[i % half]);
        float s, c;
        sincosf(a, &s, &c);
        angle[i] = make_float2(c, s * sign);
    }
    __syncthreads();
    int token = threadIdx.x / 32;
    if (token >= many) return;
    const T* from = x + (long long)(first + token) * d;
    T* to = y + (long long)(first + token) * d;
    // half is a multiple of 2 where two neighbours share a word.
    for (int i = threadIdx.x % 32; i < d / 2; i += 32) {
        int h = i / half, k = i % half, at = h * 2 * half + k;
        float2 cs = angle[token * half + k];
        float u = widen(from[at]), v = widen(from[at + half]);
        put(to + at, __fsub_rn(__fmul_rn(u, cs.x), __fmul_rn(v, cs.y)));
        put(to + at + half, __fadd_rn(__fmul_rn(v, cs.x), __fmul_rn(u, cs.y)));
    }
}

// rope_packs is rope for halves of whole packs.
template <typename T>
__device__ __forceinline__ void rope_packs(const T* x, const int* pos, T* y, int tokens, int d, int half, float sign, const Frequencies& f) {
    const int P = PACK(T);
    DYNAMIC_SHARED(float2, angle);
    int per = blockDim.x / 32;
    int first = blockIdx.x * per, many = min(per, tokens - first);
    for (int i = threadIdx.x; i < many * half; i += blockDim.x) {
        float a = __fmul_rn((float)pos[first + i / half], f.f[i % half]);
        float s, c;
        sincosf(a, &s, &c);
        angle[i] = make_float2(c, s * sign);
    }
    __syncthreads();
    int token = threadIdx.x / 32;
    if (token >= many) return;
    const T* from = x + (long long)(first + token) * d;
    T* to = y + (long long)(first + token) * d;
    int each = half / P;  // packs of half a head
    for (int i = threadIdx.x % 32; i < d / 2 / P; i += 32) {
        int k = i % each * P, at = i / each * 2 * half + k;
        float u[P], v[P];
        load_pack(from + at, u);
        load_pack(from + at + half, v);
#pragma unroll
        for (int j = 0; j < P; j++) {
            float2 cs = angle[token * half + k + j];
            float a = __fsub_rn(__fmul_rn(u[j], cs.x), __fmul_rn(v[j], cs.y));
            v[j] = __fadd_rn(__fmul_rn(v[j], cs.x), __fmul_rn(u[j], cs.y));
            u[j] = a;
        }
        store_pack(to + at, u);
        store_pack(to + at + half, v);
    }
}

#define ROPE(name, T, f)                                                                                                                   \
    extern "C" __global__ void rope_##name(const T* x, const int* pos, T* y, int tokens, int d, int half, float sign, Frequencies freq) { \
        f(x, pos, y, tokens, d, half, sign, freq);                                                                                        \
    }

ROPE(f32, float, rope_packs)
ROPE(f32_odd, float, rope)
ROPE(bf16, bf16, rope_packs)
ROPE(bf16_odd, bf16, rope)
