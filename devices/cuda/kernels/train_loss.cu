// Softmax and losses over it: a block has a row, which it reads once for the
// loss. A thread keeps the maximum of what it has seen and the sum of
// exponentials relative to it (Milakov and Gimelshein 2018, "Online normalizer
// calculation for softmax").
#include "element.cuh"

struct Online {
    float most, sum;  // Σ exp(x − most)
};

__device__ __forceinline__ void see(Online& o, float x) {
    if (x > o.most) {
        o.sum *= expf(o.most - x);
        o.most = x;
    }
    // Infinities and NaN end up in the sum.
    o.sum += o.most == x ? 1.0f : expf(x - o.most);
}

// lowest is below every finite value, and its differences are finite or −∞.
#define LOWEST -3.402823466e38f

__device__ __forceinline__ float block_most(float v) {
    __shared__ float part[WARPS];
    v = warp_max(v);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : LOWEST;
    v = warp_max(v);
    __syncthreads();
    return v;
}

// online_row is the block's row of n elements, each times by.
template <int P, typename T>
__device__ __forceinline__ Online online_row(const T* x, int n, float by) {
    Online o = {LOWEST, 0.0f};
    for (int k = threadIdx.x * P; k < n; k += blockDim.x * P) {
        if (P == 1) {
            see(o, widen(x[k]) * by);
        } else {
            float v[PACK(T)];
            load_pack(x + k, v);
            float m = o.most;
#pragma unroll
            for (int j = 0; j < PACK(T); j++) m = fmaxf(m, v[j] * by);
            float s = o.sum * expf(o.most - m);
#pragma unroll
            for (int j = 0; j < PACK(T); j++) s += expf(v[j] * by - m);
            o.most = m;
            o.sum = s;
        }
    }
    float most = block_most(o.most);
    o.sum = block_sum(o.sum * expf(o.most - most));
    o.most = most;
    return o;
}

// cross_entropy writes each row's loss, zero where the target does not count
// and NaN where it is outside of the vocabulary, and its log-sum-exp.
template <int P, typename T>
__device__ __forceinline__ void cross_entropy(const T* x, const int* targets, float* loss, float* lse, int v, int ignore) {
    x += (long long)blockIdx.x * v;
    Online o = online_row<P>(x, v, 1.0f);
    if (threadIdx.x > 0) return;
    int t = targets[blockIdx.x];
    float log_sum = logf(o.sum), l = 0.0f;
    lse[blockIdx.x] = o.most + log_sum;
    if (t != ignore) l = t < 0 || t >= v ? __int_as_float(0x7fc00000) : o.most - widen(x[t]) + log_sum;
    loss[blockIdx.x] = l;
}

// loss_mean is Σ loss / max(1, counted), by one block.
extern "C" __global__ void loss_mean(const float* loss, const int* targets, float* y, int n, int ignore) {
    double s = 0.0;
    int count = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        s += (double)loss[i];
        count += targets[i] != ignore;
    }
    s = block_sum(s);
    count = block_sum(count);
    if (threadIdx.x == 0) y[0] = (float)(s / (double)max(count, 1));
}

// loss_share is dloss / max(1, counted).
extern "C" __global__ void loss_share(const int* targets, const float* dloss, float* y, int n, int ignore) {
    int count = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) count += targets[i] != ignore;
    count = block_sum(count);
    if (threadIdx.x == 0) y[0] = __fdiv_rn(dloss[0], (float)max(count, 1));
}

// cross_entropy_grad is (softmax(x) − onehot(target))·share.
template <int P, typename T>
__device__ __forceinline__ void cross_entropy_grad(const T* x, const int* targets, const float* lse, const float* share, T* y, int v, int ignore) {
    x += (long long)blockIdx.x * v;
    y += (long long)blockIdx.x * v;
    int t = targets[blockIdx.x];
    float g = t == ignore ? 0.0f : share[0], l = lse[blockIdx.x];
    if (t != ignore && (t < 0 || t >= v)) g = __int_as_float(0x7fc00000);
    for (int k = threadIdx.x * P; k < v; k += blockDim.x * P) {
        if (P == 1) {
            float p = expf(widen(x[k]) - l) - (k == t ? 1.0f : 0.0f);
            put(y + k, t == ignore ? 0.0f : p * g);
        } else {
            float w[PACK(T)];
            load_pack(x + k, w);
#pragma unroll
            for (int j = 0; j < PACK(T); j++) {
                float p = expf(w[j] - l) - (k + j == t ? 1.0f : 0.0f);
                w[j] = t == ignore ? 0.0f : p * g;
            }
            store_pack(y + k, w);
        }
    }
}

// softmax, or its logarithm
template <typename T>
__device__ __forceinline__ void softmax(const T* x, T* y, int n, int logarithm) {
    x += (long long)blockIdx.x * n;
    y += (long long)blockIdx.x * n;
    Online o = online_row<1>(x, n, 1.0f);
    float log_sum = logf(o.sum);
    for (int k = threadIdx.x; k < n; k += blockDim.x) {
        float d = widen(x[k]) - o.most;
        put(y + k, logarithm ? d - log_sum : __fdiv_rn(expf(d), o.sum));
    }
}

extern "C" __global__ void softmax_f32(const float* x, float* y, int n, int logarithm) { softmax(x, y, n, logarithm); }
extern "C" __global__ void softmax_bf16(const bf16* x, bf16* y, int n, int logarithm) { softmax(x, y, n, logarithm); }

// dx = y·(dy − Σ dy·y)
template <typename T>
__device__ __forceinline__ void softmax_grad(const T* y, const T* dy, T* dx, int n) {
    long long at = (long long)blockIdx.x * n;
    double dot = 0.0;
    for (int k = threadIdx.x; k < n; k += blockDim.x) dot += (double)widen(y[at + k]) * (double)widen(dy[at + k]);
    dot = block_sum(dot);
    for (int k = threadIdx.x; k < n; k += blockDim.x)
        put(dx + at + k, (float)((double)widen(y[at + k]) * ((double)widen(dy[at + k]) - dot)));
}

extern "C" __global__ void softmax_grad_f32(const float* y, const float* dy, float* dx, int n) { softmax_grad(y, dy, dx, n); }
extern "C" __global__ void softmax_grad_bf16(const bf16* y, const bf16* dy, bf16* dx, int n) { softmax_grad(y, dy, dx, n); }

// distill writes each row's KL(p‖q), with q the softmax of x·by and p that of
// the teacher's, and both log-sum-exps.
template <typename T>
__device__ __forceinline__ void distill(const T* x, const T* teacher, const int* targets, float* loss, float* lse, float* teacher_lse, int v, int ignore, float by) {
    x += (long long)blockIdx.x * v;
    teacher += (long long)blockIdx.x * v;
    Online q = online_row<1>(x, v, by), p = online_row<1>(teacher, v, by);
    double lq = (double)q.most + log((double)q.sum), lp = (double)p.most + log((double)p.sum), s = 0.0;
    if (targets[blockIdx.x] != ignore) {
        for (int k = threadIdx.x; k < v; k += blockDim.x) {
            double logp = (double)(widen(teacher[k]) * by) - lp;
            float e = expf((float)logp);
            if (e > 0.0f) s += (double)e * (logp - ((double)(widen(x[k]) * by) - lq));
        }
    }
    s = block_sum(s);
    if (threadIdx.x > 0) return;
    loss[blockIdx.x] = (float)s;
    lse[blockIdx.x] = (float)lq;
    teacher_lse[blockIdx.x] = (float)lp;
}

template <typename T>
__device__ __forceinline__ void distill_grad(const T* x, const T* teacher, const int* targets, const float* lse, const float* teacher_lse, const float* share, T* y, int v, int ignore, float by) {
    long long at = (long long)blockIdx.x * v;
    float g = targets[blockIdx.x] == ignore ? 0.0f : share[0] * by, lq = lse[blockIdx.x], lp = teacher_lse[blockIdx.x];
    for (int k = threadIdx.x; k < v; k += blockDim.x) {
        float d = expf(widen(x[at + k]) * by - lq) - expf(widen(teacher[at + k]) * by - lp);
        put(y + at + k, g == 0.0f ? 0.0f : d * g);
    }
}

#define LOSSES(name, T, P)                                                                                                                  \
    extern "C" __global__ void cross_entropy_##name(const T* x, const int* targets, float* loss, float* lse, int v, int ignore) {          \
        cross_entropy<P>(x, targets, loss, lse, v, ignore);                                                                                \
    }                                                                                                                                       \
    extern "C" __global__ void cross_entropy_grad_##name(const T* x, const int* targets, const float* lse, const float* share, T* y, int v, \
                                                         int ignore) {                                                                     \
        cross_entropy_grad<P>(x, targets, lse, share, y, v, ignore);                                                                       \
    }

LOSSES(f32, float, 4)
LOSSES(f32_odd, float, 1)
LOSSES(bf16, bf16, 8)
LOSSES(bf16_odd, bf16, 1)

extern "C" __global__ void distill_f32(const float* x, const float* teacher, const int* targets, float* loss, float* lse, float* teacher_lse, int v, int ignore, float by) {
    distill(x, teacher, targets, loss, lse, teacher_lse, v, ignore, by);
}
extern "C" __global__ void distill_grad_f32(const float* x, const float* teacher, const int* targets, const float* lse, const float* teacher_lse, const float* share, float* y, int v, int ignore, float by) {
    distill_grad(x, teacher, targets, lse, teacher_lse, share, y, v, ignore, by);
}
extern "C" __global__ void distill_bf16(const bf16* x, const bf16* teacher, const int* targets, float* loss, float* lse, float* teacher_lse, int v, int ignore, float by) {
    distill(x, teacher, targets, loss, lse, teacher_lse, v, ignore, by);
}
extern "C" __global__ void distill_grad_bf16(const bf16* x, const bf16* teacher, const int* targets, const float* lse, const float* teacher_lse, const float* share, bf16* y, int v, int ignore, float by) {
    distill_grad(x, teacher, targets, lse, teacher_lse, share, y, v, ignore, by);
}

// Token relations: for token i and head h the softmax over the tokens j of the
// same sequence of x_i·x_j/√d, against that of a teacher. A block has an i and
// an h.
struct Relation {
    Online q, p;
    float gap;  // Σ exp(p − p.most)·(p − q)
};

__device__ __forceinline__ void merge(Relation& r, float sq, float sp) {
    see(r.q, sq);
    if (sp > r.p.most) {
        float by = expf(r.p.most - sp);
        r.p.sum *= by;
        r.gap *= by;
        r.p.most = sp;
    }
    float e = expf(sp - r.p.most);
    r.p.sum += e;
    r.gap += e * (sp - sq);
}

template <typename T>
__device__ __forceinline__ float dot_of(const T* a, const T* b, int d) {
    float s = 0.0f;
    for (int c = 0; c < d; c++) s = fmaf(widen(a[c]), widen(b[c]), s);
    return s;
}

template <typename T>
__device__ __forceinline__ void relation(const T* x, const T* teacher, const int* seq, float* loss, float* lse, float* teacher_lse, int n, int heads, int d, int e) {
    int i = blockIdx.x, h = blockIdx.y, mine = seq[i];
    long long w = (long long)heads * d, u = (long long)heads * e;
    float by = rsqrtf((float)d), teacher_by = rsqrtf((float)e);
    Relation r = {{LOWEST, 0.0f}, {LOWEST, 0.0f}, 0.0f};
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        if (seq[j] == mine) merge(r, dot_of(x + i * w + h * d, x + j * w + h * d, d) * by, dot_of(teacher + i * u + h * e, teacher + j * u + h * e, e) * teacher_by);
    }
    float mq = block_most(r.q.most), mp = block_most(r.p.most);
    float shift = expf(r.p.most - mp);
    float sq = block_sum(r.q.sum * expf(r.q.most - mq)), sp = block_sum(r.p.sum * shift), gap = block_sum(r.gap * shift);
    if (threadIdx.x > 0) return;
    float lq = mq + logf(sq), lp = mp + logf(sp);
    lse[i * heads + h] = lq;
    teacher_lse[i * heads + h] = lp;
    loss[i * heads + h] = gap / sp - (mp - mq) - (logf(sp) - logf(sq));
}

// relation_mean is the mean of n numbers.
extern "C" __global__ void relation_mean(const float* loss, float* y, long long n) {
    double s = 0.0;
    for (long long i = threadIdx.x; i < n; i += blockDim.x) s += (double)loss[i];
    s = block_sum(s);
    if (threadIdx.x == 0) y[0] = (float)(s / (double)(n > 0 ? n : 1));
}

// dx_i = Σ_j (g_ij + g_ji)·x_j with g = (q − p)·dloss/(n·heads·√d), over tiles
// of tokens whose factors lie in shared memory.
template <typename T>
__device__ __forceinline__ void relation_grad(const T* x, const T* teacher, const int* seq, const float* lse, const float* teacher_lse, const float* dloss, T* dx, int n, int heads, int d, int e) {
    __shared__ float factor[256];
    int i = blockIdx.x, h = blockIdx.y, mine = seq[i];
    long long w = (long long)heads * d, u = (long long)heads * e;
    float by = rsqrtf((float)d), teacher_by = rsqrtf((float)e), g = dloss[0] * by / ((float)n * (float)heads);
    float lq = lse[i * heads + h], lp = teacher_lse[i * heads + h];
    // Columns beyond the block's threads are done in later rounds.
    for (int c0 = 0; c0 < d; c0 += blockDim.x) {
        int c = c0 + threadIdx.x;
        float sum = 0.0f;
        for (int j0 = 0; j0 < n; j0 += 256) {
            int j = j0 + threadIdx.x;
            float f = 0.0f;
            if (j < n && seq[j] == mine) {
                float sq = dot_of(x + i * w + h * d, x + j * w + h * d, d) * by;
                float sp = dot_of(teacher + i * u + h * e, teacher + j * u + h * e, e) * teacher_by;
                f = expf(sq - lq) - expf(sp - lp) + expf(sq - lse[j * heads + h]) - expf(sp - teacher_lse[j * heads + h]);
            }
            factor[threadIdx.x] = f;
            __syncthreads();
            if (c < d) {
                for (int k = 0; k < min(256, n - j0); k++) {
                    if (factor[k] != 0.0f) sum = fmaf(factor[k], widen(x[(j0 + k) * w + h * d + c]), sum);
                }
            }
            __syncthreads();
        }
        if (c < d) put(dx + i * w + h * d + c, sum * g);
    }
}

extern "C" __global__ void relation_f32(const float* x, const float* teacher, const int* seq, float* loss, float* lse, float* teacher_lse, int n, int heads, int d, int e) {
    relation(x, teacher, seq, loss, lse, teacher_lse, n, heads, d, e);
}
extern "C" __global__ void relation_bf16(const bf16* x, const bf16* teacher, const int* seq, float* loss, float* lse, float* teacher_lse, int n, int heads, int d, int e) {
    relation(x, teacher, seq, loss, lse, teacher_lse, n, heads, d, e);
}
extern "C" __global__ void relation_grad_f32(const float* x, const float* teacher, const int* seq, const float* lse, const float* teacher_lse, const float* dloss, float* dx, int n, int heads, int d, int e) {
    relation_grad(x, teacher, seq, lse, teacher_lse, dloss, dx, n, heads, d, e);
}
extern "C" __global__ void relation_grad_bf16(const bf16* x, const bf16* teacher, const int* seq, const float* lse, const float* teacher_lse, const float* dloss, bf16* dx, int n, int heads, int d, int e) {
    relation_grad(x, teacher, seq, lse, teacher_lse, dloss, dx, n, heads, d, e);
}
