// Attention of a decode step, with the rotary embedding of its queries and keys and
// the append to the cache in the same kernel: the bits of rope_append followed by
// attention (flash_decode.cuh).
//
// Other blocks append while this one reads. So what tokens of the step have for the
// cache is taken from the step, not from there.
#include "flash_decode.cuh"
#include "pdl.cuh"

#define STEP_TOKENS 64  // tokens of a step, at most

// Step supplies queries, keys and values of the tokens of a step.
struct Step {
    u16 *kc, *vc;
    const float *k, *v, *angles;
    const int *seq, *pos;
    int* list;  // in shared memory: tokens of this one's sequence, and how many
    int token, tokens, width, hd, count;
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

    template <int HD>
    __device__ __forceinline__ void queries(u8* hi, u8* lo, const float* q, int, int head, int heads, int group, int) {
        const float* turn = angles + (size_t)pos[token] * hd;
        for (int i = threadIdx.x; i < 16 * HD / 2; i += 128) {
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
        // The step's tokens of the same sequence, this one among them.
        int* n = list + STEP_TOKENS;
        if (threadIdx.x == 0) *n = 0;
        __syncthreads();
        if ((int)threadIdx.x < tokens && seq[threadIdx.x] == seq[token] && pos[threadIdx.x] <= pos[token]) list[atomicAdd(n, 1)] = threadIdx.x;
        __syncthreads();
        count = *n;
    }

    __device__ __forceinline__ void load(int i, int head) {
        size_t at = (size_t)i * width + head * hd;
        int t = threadIdx.x;
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
        int t = threadIdx.x, p = pos[i], half = hd / 2;
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

// soon asks for the block's first keys and values. It runs before the wait, when
// seq, pos and table may not be there yet: so it believes nothing that they say.
__device__ __forceinline__ void soon(const Cache& c, const int* seq, const int* pos, int sequences, int pages, int window) {
    int s = seq[blockIdx.z], last = pos[blockIdx.z];
    if (s < 0 || s >= sequences || last < 0 || last >= c.width * c.size) return;
    int p = (Seen(last, window).first / KEYS + blockIdx.x) * KEYS + (threadIdx.x >> 1);
    if (p >= last) return;
    int page = c.table[s * c.width + p / c.size];
    if (page < 0 || page >= pages) return;
    const u16* row = (threadIdx.x & 1 ? c.vc : c.kc) + ((size_t)page * c.size + p % c.size) * c.pitch + blockIdx.y * c.hd;
    prefetch_l2(row);
    prefetch_l2(row + c.hd / 2);
}

#define ATTEND(HD)                                                                                                                         \
    KERNEL(128, 2, attend_step_##HD)                                                                                                            \
    (u16 * kc, u16 * vc, const float* q, const float* k, const float* v, const int* seq, const int* pos, const int* table,                 \
     const float* angles, float* o, float* part, float* ml, int* tickets, int tokens, int heads, int group, int hd, int sequences,         \
     int width, int pages, int size, int window, float scale, int blocks) {                                                                \
        __shared__ int list[STEP_TOKENS + 1];                                                                                              \
        launch_dependents();                                                                                                               \
        int wide = heads / group * hd;                                                                                                     \
        Cache c = {kc, vc, table, width, size, wide, hd};                                                                                  \
        soon(c, seq, pos, sequences, pages, window);                                                                                       \
        grid_dependency_wait();                                                                                                            \
        Step step = {kc, vc, k, v, angles, seq, pos, list, (int)blockIdx.z, tokens, wide, hd, 0, -1, 0.0f, 0.0f, 0.0f};            \
        decode<HD>(step, q, c, seq, pos, o, part, ml, tickets, heads, group, window, scale, blocks);                                                \
    }
ATTEND(64)
ATTEND(128)
