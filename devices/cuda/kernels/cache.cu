// The key/value cache of a decode step: rotary embedding and append.
#include "element.cuh"
#include "pdl.cuh"

// Pages is a paged cache: table[sequence][position/size] is a block of `size`
// rows.
struct Pages {
    const int* table;
    int sequences, width, blocks, size;
};

// row is the row of a position in the cache, -1 for one that it does not have.
__device__ __forceinline__ long long row(Pages p, int seq, int pos) {
    if (seq < 0 || seq >= p.sequences || pos < 0 || pos >= p.width * p.size) return -1;
    int b = p.table[seq * p.width + pos / p.size];
    return b < 0 || b >= p.blocks ? -1 : (long long)b * p.size + pos % p.size;
}

// qr = rope(q); cache rows of (seq, pos) = rope(k), v. Blocks are tokens by
// pieces of one: first the pairs of all heads of q, then those of k, then v.
// angles has cosines, then sines, of half a head for each position.
template <typename T>
__device__ __forceinline__ void append_rotated(T* kc, T* vc, const float* q, const float* k, const float* v, const int* seq, const int* pos,
                                               Pages pages, const float* angles, float* qr, int dq, int dk, int half) {
    launch_dependents();
    grid_dependency_wait();
    int token = blockIdx.x, p = pos[token];
    const float* turn = angles + (size_t)p * 2 * half;
    bool known = p >= 0 && p < pages.width * pages.size;
    long long to = row(pages, seq[token], p);
    int i = blockIdx.y * blockDim.x + threadIdx.x;
    int pairs = (dq + dk) / 2;
    if (i < pairs) {
        int h = i / half, j = i % half;
        int at = h * 2 * half + j;
        bool query = at < dq;
        const float* x = query ? q + (size_t)token * dq + at : k + (size_t)token * dk + at - dq;
        float u = x[0], w = x[half], c = known ? turn[j] : 1.0f, s = known ? turn[half + j] : 0.0f;
        float a = __fadd_rn(__fmul_rn(u, c), -__fmul_rn(w, s)), b = __fadd_rn(__fmul_rn(w, c), __fmul_rn(u, s));
        if (query) {
            float* y = qr + (size_t)token * dq + at;
            y[0] = a, y[half] = b;
        } else if (to >= 0) {
            T* y = kc + to * dk + at - dq;
            put(y, a), put(y + half, b);
        }
    } else if (i < pairs + dk && to >= 0) {
        i -= pairs;
        put(vc + to * dk + i, v[(size_t)token * dk + i]);
    }
}

#define APPEND_ROTATED(name, T)                                                                                                            \
    KERNEL(256, 1, rope_append_##name)                                                                                                     \
    (T * kc, T * vc, const float* q, const float* k, const float* v, const int* seq, const int* pos, const int* table, const float* angles, \
     float* qr, int dq, int dk, int half, int sequences, int width, int blocks, int size) {                                                \
        append_rotated(kc, vc, q, k, v, seq, pos, {table, sequences, width, blocks, size}, angles, qr, dq, dk, half);                      \
    }
APPEND_ROTATED(f32, float)
APPEND_ROTATED(f16, f16)
APPEND_ROTATED(bf16, bf16)

// cache rows of (seq, pos) = k, v
template <typename T>
__device__ __forceinline__ void append(T* kc, T* vc, const float* k, const float* v, const int* seq, const int* pos, Pages pages, int d) {
    launch_dependents();
    grid_dependency_wait();
    int token = blockIdx.x, i = blockIdx.y * blockDim.x + threadIdx.x;
    long long to = row(pages, seq[token], pos[token]);
    if (i >= d || to < 0) return;
    put(kc + to * d + i, k[(size_t)token * d + i]);
    put(vc + to * d + i, v[(size_t)token * d + i]);
}

#define APPEND(name, T)                                                                                                       \
    KERNEL(256, 1, kv_append_##name)                                                                                          \
    (T * kc, T * vc, const float* k, const float* v, const int* seq, const int* pos, const int* table, int d, int sequences, \
     int width, int blocks, int size) {                                                                                      \
        append(kc, vc, k, v, seq, pos, {table, sequences, width, blocks, size}, d);                                          \
    }
APPEND(f32, float)
APPEND(f16, f16)
APPEND(bf16, bf16)
