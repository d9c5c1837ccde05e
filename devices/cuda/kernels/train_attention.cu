// Attention over ragged tokens in f32 arithmetic, forward and backward, for every
// head width and window: what the tensor-core kernels do not take. A block looks
// through all tokens, 128 at a time, for those that its own sees, or is seen by.
#include "element.cuh"
#include "philox.cuh"

#define TILE 128

struct Tokens {
    const int *seq, *pos;
    int n, heads, kv, d, window;
};

__device__ __forceinline__ bool sees(const Tokens& t, int i, int j) {
    int past = t.pos[i] - t.pos[j];
    return t.seq[i] == t.seq[j] && past >= 0 && (t.window <= 0 || past < t.window);
}

template <typename T>
__device__ __forceinline__ float dot_rows(const T* a, const T* b, int d) {
    float s = 0.0f;
    for (int c = 0; c < d; c++) s = fmaf(widen(a[c]), widen(b[c]), s);
    return s;
}

struct Whole {
    static const bool drops = false;
    __device__ __forceinline__ float factor(int, int, int) const { return 1.0f; }
};
struct Masked {
    static const bool drops = true;
    ProbsDropout p;
    __device__ __forceinline__ Masked(PROBS_DROPOUT) : p PROBS_DROPOUT_ARGS {}
    __device__ __forceinline__ float factor(int query, int head, int key) const { return p.factor(query, head, key); }
};

// attention gives a block a token and a head. A thread has a key of the tile, and
// then a column of the result.
template <typename T, typename Drop>
__device__ __forceinline__ void attention(const T* q, const T* k, const T* v, T* o, float* lse, const Tokens& t, Drop drop) {
    __shared__ float weight[TILE];
    int i = blockIdx.x, h = blockIdx.y, g = h / (t.heads / t.kv);
    float by = rsqrtf((float)t.d), most = -3.402823466e38f, sum = 0.0f;
    const T* mine = q + ((long long)i * t.heads + h) * t.d;
    // First the sum of exponentials, each thread over its keys.
    for (int j = threadIdx.x; j < t.n; j += TILE) {
        if (!sees(t, i, j)) continue;
        float s = dot_rows(mine, k + ((long long)j * t.kv + g) * t.d, t.d) * by;
        if (s > most) {
            sum *= expf(most - s);
            most = s;
        }
        sum += expf(s - most);
    }
    __shared__ float part[WARPS];
    float m = warp_max(most);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = m;
    __syncthreads();
    for (int w = 0; w < TILE / 32; w++) m = fmaxf(m, part[w]);
    sum = block_sum(sum * expf(most - m));
    float l = m + logf(sum);
    if (threadIdx.x == 0) lse[(long long)i * t.heads + h] = l;
    for (int c0 = 0; c0 < t.d; c0 += TILE) {
        int c = c0 + threadIdx.x;
        float acc = 0.0f;
        for (int j0 = 0; j0 < t.n; j0 += TILE) {
            int j = j0 + threadIdx.x;
            weight[threadIdx.x] = j < t.n && sees(t, i, j) ? expf(dot_rows(mine, k + ((long long)j * t.kv + g) * t.d, t.d) * by - l) : 0.0f;
            if (Drop::drops) weight[threadIdx.x] *= drop.factor(i, h, j);
            __syncthreads();
            for (int x = 0; x < min(TILE, t.n - j0); x++) {
                if (weight[x] != 0.0f && c < t.d) acc = fmaf(weight[x], widen(v[((long long)(j0 + x) * t.kv + g) * t.d + c]), acc);
            }
            __syncthreads();
        }
        if (c < t.d) put(o + ((long long)i * t.heads + h) * t.d + c, acc);
    }
}

// With p = exp(s − lse) and D = Σ do·o: ds = p·(do·v − D)/√d, dq = Σ ds·k.
template <typename T, typename Drop>
__device__ __forceinline__ void attention_grad_q(const T* q, const T* k, const T* v, const T* o, const float* lse, const T* go, T* dq, const Tokens& t, Drop drop) {
    __shared__ float weight[TILE];
    int i = blockIdx.x, h = blockIdx.y, g = h / (t.heads / t.kv);
    long long at = ((long long)i * t.heads + h) * t.d;
    float by = rsqrtf((float)t.d), l = lse[(long long)i * t.heads + h], delta = dot_rows(go + at, o + at, t.d);
    for (int c0 = 0; c0 < t.d; c0 += TILE) {
        int c = c0 + threadIdx.x;
        float acc = 0.0f;
        for (int j0 = 0; j0 < t.n; j0 += TILE) {
            int j = j0 + threadIdx.x;
            float ds = 0.0f;
            if (j < t.n && sees(t, i, j)) {
                long long key = ((long long)j * t.kv + g) * t.d;
                float p = expf(dot_rows(q + at, k + key, t.d) * by - l);
                float dov = dot_rows(go + at, v + key, t.d);
                if (Drop::drops) dov *= drop.factor(i, h, j);
                ds = p * (dov - delta) * by;
            }
            weight[threadIdx.x] = ds;
            __syncthreads();
            for (int x = 0; x < min(TILE, t.n - j0); x++) {
                if (weight[x] != 0.0f && c < t.d) acc = fmaf(weight[x], widen(k[((long long)(j0 + x) * t.kv + g) * t.d + c]), acc);
            }
            __syncthreads();
        }
        if (c < t.d) put(dq + at + c, acc);
    }
}

// dk = Σ ds·q and dv = Σ p·do over the tokens and heads that see token j: a block
// has a token and a head of keys.
template <typename T, typename Drop>
__device__ __forceinline__ void attention_grad_kv(const T* q, const T* k, const T* v, const T* o, const float* lse, const T* go, T* dk, T* dv, const Tokens& t, Drop drop) {
    __shared__ float weight[2][TILE];
    int j = blockIdx.x, g = blockIdx.y, group = t.heads / t.kv;
    long long key = ((long long)j * t.kv + g) * t.d;
    float by = rsqrtf((float)t.d);
    for (int c0 = 0; c0 < t.d; c0 += TILE) {
        int c = c0 + threadIdx.x;
        float acc_k = 0.0f, acc_v = 0.0f;
        for (int h = g * group; h < (g + 1) * group; h++) {
            for (int i0 = 0; i0 < t.n; i0 += TILE) {
                int i = i0 + threadIdx.x;
                float p = 0.0f, ds = 0.0f;
                if (i < t.n && sees(t, i, j)) {
                    long long at = ((long long)i * t.heads + h) * t.d;
                    p = expf(dot_rows(q + at, k + key, t.d) * by - lse[(long long)i * t.heads + h]);
                    float f = Drop::drops ? drop.factor(i, h, j) : 1.0f, dov = dot_rows(go + at, v + key, t.d);
                    if (Drop::drops) dov *= f;
                    ds = p * (dov - dot_rows(go + at, o + at, t.d)) * by;
                    if (Drop::drops) p *= f;
                }
                weight[0][threadIdx.x] = p;
                weight[1][threadIdx.x] = ds;
                __syncthreads();
                for (int x = 0; x < min(TILE, t.n - i0); x++) {
                    if ((weight[0][x] == 0.0f && (!Drop::drops || weight[1][x] == 0.0f)) || c >= t.d) continue;
                    long long at = ((long long)(i0 + x) * t.heads + h) * t.d + c;
                    acc_v = fmaf(weight[0][x], widen(go[at]), acc_v);
                    acc_k = fmaf(weight[1][x], widen(q[at]), acc_k);
                }
                __syncthreads();
            }
        }
        if (c < t.d) {
            put(dk + key + c, acc_k);
            put(dv + key + c, acc_v);
        }
    }
}

#define ATTENTION(NAME, T, DROP, DROP_ARGS)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(TILE) attention_any_##NAME(const T* q, const T* k, const T* v, const int* seq, const int* pos, \
                                                                             T* o, float* lse, int n, int heads, int kv, int d,                 \
                                                                             int window DROP) {                                                 \
        attention(q, k, v, o, lse, Tokens{seq, pos, n, heads, kv, d, window}, DROP_ARGS);                                                       \
    }                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(TILE)                                                                                         \
        attention_any_grad_q_##NAME(const T* q, const T* k, const T* v, const T* o, const float* lse, const T* go, const int* seq,             \
                                    const int* pos, T* dq, int n, int heads, int kv, int d, int window DROP) {                                 \
        attention_grad_q(q, k, v, o, lse, go, dq, Tokens{seq, pos, n, heads, kv, d, window}, DROP_ARGS);                                       \
    }                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(TILE)                                                                                         \
        attention_any_grad_kv_##NAME(const T* q, const T* k, const T* v, const T* o, const float* lse, const T* go, const int* seq,            \
                                     const int* pos, T* dk, T* dv, int n, int heads, int kv, int d, int window DROP) {                         \
        attention_grad_kv(q, k, v, o, lse, go, dk, dv, Tokens{seq, pos, n, heads, kv, d, window}, DROP_ARGS);                                  \
    }

#define DROP , PROBS_DROPOUT
#define DROP_ARGS Masked(at, key0, key1, stream, threshold, keep)

ATTENTION(f32, float, , Whole())
ATTENTION(bf16, bf16, , Whole())
ATTENTION(dropout_f32, float, DROP, DROP_ARGS)
ATTENTION(dropout_bf16, bf16, DROP, DROP_ARGS)
