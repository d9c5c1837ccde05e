// Attention of a decode step, with the rotary embedding of its queries and keys and
// the append to the cache in one: the bits of rope_append followed by
// attention (flash_decode.cuh).
//
// Other blocks append while this one reads. So what tokens of the step have for the
// cache is taken from the step, not from there.
#pragma once
#include "flash_decode.cuh"

#define STEP_TOKENS 64  // tokens of a step, at most

// Step supplies queries, keys and values of the tokens of a step.
struct Step {
    u16 *kc, *vc;
    const float *k, *v, *angles;
    const int *seq, *pos;
    int* list;  // in shared memory: tokens of this one's sequence, and how many
    int token, tokens, width, hd, count;
    int t;          // which of the 128 threads
    int now;        // token whose elements are in u, w and x, -1 for none
    float u, w, x;  // a pair of k and an element of v

    // turned is element c of a head at `from`, rotated by the angles of a position.
    __device__ __forceinline__ float turned(const float* from, const float* turn, int c) const {
        int half = hd / 2;
        bool low = c < half;
        int i = low ? c : c - half;
        float a = from[i], b = from[i + half], cosine = turn[i], sine = turn[half + i];
        return low ? __fadd_rn(__fmul_rn(a, cosine), -__fmul_rn(b, sine)) : __fadd_rn(__fmul_rn(b, cosine), __fmul_rn(a, sine));
    }

    // rotate splits the rotated queries into panels, of threads from `first` on of n.
    template <int HD>
    __device__ __forceinline__ void rotate(u8* hi, u8* lo, const float* q, int head, int heads, int group, int first, int n) const {
        const float* turn = angles + (size_t)pos[token] * hd;
        for (int i = first; i < 16 * HD / 2; i += n) {
            int r = i / (HD / 2), c = i % (HD / 2) * 2;
            Split s = {0, 0};
            if (r < group && c < hd) {
                const float* from = q + ((size_t)token * heads + head * group + r) * hd;
                s = split(turned(from, turn, c), turned(from, turn, c + 1));
            }
            int at = (int)(Rows<HD>::at(hi, r, c >> 3) - hi) + (c & 7) * 2;
            *(unsigned*)(hi + at) = s.hi;
            *(unsigned*)(lo + at) = s.lo;
        }
    }

    // find lists the step's tokens of the same sequence, this one among them. All
    // threads of the block call it.
    __device__ __forceinline__ void find() {
        int* n = list + STEP_TOKENS;
        if (threadIdx.x == 0) *n = 0;
        __syncthreads();
        if ((int)threadIdx.x < tokens && seq[threadIdx.x] == seq[token] && pos[threadIdx.x] <= pos[token]) list[atomicAdd(n, 1)] = threadIdx.x;
        __syncthreads();
        count = *n;
    }

    template <int HD>
    __device__ __forceinline__ void queries(u8* hi, u8* lo, const float* q, int, int head, int heads, int group, int) {
        rotate<HD>(hi, lo, q, head, heads, group, threadIdx.x, 128);
        find();
    }

    __device__ __forceinline__ void load(int i, int head) {
        size_t at = (size_t)i * width + head * hd;
        if (t < hd / 2) u = k[at + t], w = k[at + hd / 2 + t];
        if (t < hd) x = v[at + t];
    }

    // fetch loads what the first token has that lies in block j of the keys.
    __device__ __forceinline__ void fetch(int j, int head) {
        now = -1;
        for (int i = 0; i < count && now < 0; i++) {
            if (pos[list[i]] / KEYS == j) now = list[i];
        }
        if (now >= 0) load(now, head);
    }

    template <int HD>
    __device__ __forceinline__ void put(u8* panel, int row, int c, u16 value) {
        *(u16*)(Rows<HD>::at(panel, row, c >> 3) + (c & 7) * 2) = value;
    }

    // write puts token i, which is loaded, into the panels, and into the cache if it
    // is this block's own.
    template <int HD>
    __device__ __forceinline__ void write(u8* kp, u8* vp, int i, const Cache& c, int head) {
        int p = pos[i], half = hd / 2;
        bool own = i == token;
        size_t to = own ? ((size_t)c.table[seq[i] * c.width + p / c.size] * c.size + p % c.size) * c.pitch + head * hd : 0;
        if (t < half) {
            float cosine = angles[(size_t)p * hd + t], sine = angles[(size_t)p * hd + half + t];
            u16 a = f32_to_f16(__fadd_rn(__fmul_rn(u, cosine), -__fmul_rn(w, sine)));
            u16 b = f32_to_f16(__fadd_rn(__fmul_rn(w, cosine), __fmul_rn(u, sine)));
            put<HD>(kp, p % KEYS, t, a), put<HD>(kp, p % KEYS, half + t, b);
            if (own) kc[to + t] = a, kc[to + half + t] = b;
        }
        if (t < hd) {
            u16 a = f32_to_f16(x);
            put<HD>(vp, p % KEYS, t, a);
            if (own) vc[to + t] = a;
        }
    }

    template <int HD>
    __device__ __forceinline__ bool patch(u8* kp, u8* vp, int j, const Cache& c, int head) {
        if (now < 0) return false;
        write<HD>(kp, vp, now, c, head);
        for (int n = 0; n < count; n++) {
            int i = list[n];
            if (i == now || pos[i] / KEYS != j) continue;
            load(i, head);
            write<HD>(kp, vp, i, c, head);
        }
        return true;
    }
};
