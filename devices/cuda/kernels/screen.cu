// The likeliest tokens without the whole head (ops/screen): the planes, 6 bits a
// weight, give each logit within a bound; only rows that can be among the wanted
// ones are multiplied as they are. For a row w, an activation x and what is stored
// of them, ŵ = s·(u - 31.5) and x̂ = step·q,
//
//     |w·x - ŵ·x̂| <= |ŵ|·|x-x̂| + |w-ŵ|·|x|        (Cauchy and Schwarz)
//
// and the logit as computed is within gamma·|w|·|x| of w·x (Higham, "Accuracy and
// Stability of Numerical Algorithms", §3.1).
#include "choice.cuh"
#include "head.cuh"
#include "mma.cuh"

#define COLUMNS 256        // of a block of both planes
#define SCAN_ROWS 128      // rows of the head that a block looks at: 16 for each warp
#define SCAN_TOKENS 16     // tokens of a block, at most
#define PICK_ROWS 1024     // rows of a block that picks
#define TOP_CODE 32000.0f  // largest code of an activation
#define ROUND_UP (1.0 + 1e-6)

// Token is what is known of one.
struct Token {
    double step, sum;    // x̂ = step·q, sum of q
    double norm;         // |x|
    double alpha, beta;  // factors of |w| and |w-ŵ| in the bound
    int ticket;          // blocks that have picked their rows
};

// prepare rounds a token's activations to 16 bits, in two planes of bytes: codes
// i8[tokens][2][cols] are the upper and the lower byte. One block a token.
KERNEL(512, 1, screen_prepare)(const float* x, i8* codes, Token* tokens, int k, int cols) {
    launch_dependents();
    grid_dependency_wait();
    x += (size_t)blockIdx.x * k;
    codes += (size_t)blockIdx.x * 2 * cols;
    float most = 0.0f;
    double square = 0.0;
    for (int e = threadIdx.x; e < k; e += blockDim.x) {
        float v = x[e];
        most = fmaxf(most, fabsf(v));
        square += (double)v * (double)v;
    }
    square = block_sum(square);
    most = block_max(most);
    double norm = sqrt(square), step = (double)most / TOP_CODE;
    bool fit = square < 3.4e38;  // not so if they are not numbers, or close to overflow
    double inv = fit && step > 0 ? 1.0 / step : 0.0, lost = 0.0;
    int sum = 0;
    for (int e = threadIdx.x; e < cols; e += blockDim.x) {
        int c = 0;
        if (e < k && fit) {
            c = __double2int_rn((double)x[e] * inv);
            double d = (double)x[e] - c * step;
            lost += d * d;
        }
        int low = (i8)c;
        codes[e] = (i8)((c - low) >> 8);
        codes[cols + e] = (i8)low;
        sum += c;
    }
    lost = block_sum(lost);
    sum = block_sum(sum);
    if (threadIdx.x > 0) return;
    double gamma = 1.01 * (double)(k + 8) / (1 << 24), d = sqrt(lost) + 1e-9 * norm;
    Token t = {fit ? step : 0.0, (double)sum, norm, (d + gamma * norm) * ROUND_UP, (d + norm) * ROUND_UP, 0};
    if (!fit) t.alpha = t.beta = INFINITE;
    tokens[blockIdx.x] = t;
}

// at is where a row's blocks of a plane begin, of `bytes` for each row.
__device__ __forceinline__ const uint4* at(const u8* plane, int row, int bytes, int lane4) {
    return (const uint4*)(plane + (size_t)(row >> 2) * 4 * bytes + 64 * (row & 3) + 16 * lane4);
}

// level4 is four codes of 6 bits, as bytes, of the upper bits in n and the lower
// ones in c, both shifted to bit 0.
__device__ __forceinline__ unsigned level4(unsigned n, unsigned c) { return (n & 0x0f0f0f0fu) << 2 | (c & 0x03030303u); }

// scan gives every row of the head what its logit is at most, most f32[m][n], and
// each 128 rows the most that one of them is at least, least f32[m][tiles].
// Blocks are SCAN_TOKENS tokens by SCAN_ROWS rows. NT is 4 tokens: the columns of
// B are their upper and lower bytes in turn.
template <int NT>
__device__ __forceinline__ void scan(const i8* codes, const Token* tokens, const u8* nibbles, const u8* crumbs, const float* bounds,
                                     float* most, float* least, int m, int n, int cols) {
    DYNAMIC_SHARED(i8, act);  // [2*count][cols+64]
    __shared__ float best[SCAN_TOKENS][SCAN_ROWS / 16];
    launch_dependents();
    int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, warp = threadIdx.x >> 5;
    int m0 = blockIdx.x * SCAN_TOKENS, count = min(SCAN_TOKENS, m - m0), ld = cols + 64;
    int last = (n + 3) / 4 * 4 - 1;
    int r0 = blockIdx.y * SCAN_ROWS + warp * 16 + g, r1 = min(r0 + 8, last);
    const uint4 *n0 = at(nibbles, min(r0, last), cols / 2, t), *n1 = at(nibbles, r1, cols / 2, t);
    const uint4 *c0 = at(crumbs, min(r0, last), cols / 4, t), *c1 = at(crumbs, r1, cols / 4, t);
    // A block of 256 columns is two of 256 bytes in the nibbles, one in the crumbs.
    for (int b = 0; b < min(3, cols / COLUMNS); b++) {
        prefetch_l2(n0 + 32 * b), prefetch_l2(n1 + 32 * b), prefetch_l2(n0 + 32 * b + 16), prefetch_l2(n1 + 32 * b + 16);
        prefetch_l2(c0 + 16 * b), prefetch_l2(c1 + 16 * b);
    }
    grid_dependency_wait();
    for (int i = threadIdx.x; i < 2 * count * (cols / 16); i += blockDim.x) {
        int r = i / (cols / 16), e = i % (cols / 16) * 16;
        *(int4*)(act + r * ld + e) = *(const int4*)(codes + (size_t)(2 * m0 + r) * cols + e);
    }
    __syncthreads();

    int d[NT][4];
#pragma unroll
    for (int i = 0; i < NT; i++) d[i][0] = d[i][1] = d[i][2] = d[i][3] = 0;
    uint4 next[6] = {load_once(n0), load_once(n0 + 16), load_once(c0), load_once(n1), load_once(n1 + 16), load_once(c1)};
    for (int b = 0; b < cols / COLUMNS; b++) {
        uint4 now[6];
#pragma unroll
        for (int i = 0; i < 6; i++) now[i] = next[i];
        if (b + 1 < cols / COLUMNS) {
            next[0] = load_once(n0 + 32 * (b + 1)), next[1] = load_once(n0 + 32 * (b + 1) + 16), next[2] = load_once(c0 + 16 * (b + 1));
            next[3] = load_once(n1 + 32 * (b + 1)), next[4] = load_once(n1 + 32 * (b + 1) + 16), next[5] = load_once(c1 + 16 * (b + 1));
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            uint4 va = now[c >> 1], vb = now[3 + (c >> 1)];
            const unsigned na[4] = {va.x, va.y, va.z, va.w}, nb[4] = {vb.x, vb.y, vb.z, vb.w};
            const unsigned ca[4] = {now[2].x, now[2].y, now[2].z, now[2].w}, cb[4] = {now[5].x, now[5].y, now[5].z, now[5].w};
            unsigned ua[4], ub[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                ua[i] = level4(na[i] >> 4 * (c & 1), ca[i] >> 2 * c);
                ub[i] = level4(nb[i] >> 4 * (c & 1), cb[i] >> 2 * c);
            }
            const unsigned first[4] = {ua[0], ub[0], ua[1], ub[1]}, second[4] = {ua[2], ub[2], ua[3], ub[3]};
#pragma unroll
            for (int i = 0; i < NT; i++) {
                uint4 q = make_uint4(0, 0, 0, 0);
                if (8 * i + g < 2 * count) q = *(const uint4*)(act + (8 * i + g) * ld + b * COLUMNS + c * 64 + t * 16);
                const unsigned q0[2] = {q.x, q.y}, q1[2] = {q.z, q.w};
                mma_s8(d[i], first, q0);
                mma_s8(d[i], second, q1);
            }
        }
    }

#pragma unroll
    for (int i = 0; i < NT; i++) {
        int token = 4 * i + t;
        float top = -INFINITE;
        if (token < count) {
            const Token& x = tokens[m0 + token];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int row = r0 + 8 * h;
                if (row >= n) continue;
                const float* b = bounds + (size_t)row * 4;
                double unit = (double)b[0] * x.step;
                double a = unit * (256.0 * d[i][2 * h] + d[i][2 * h + 1] - 31.5 * x.sum);
                double r = (double)b[3] * x.alpha + (double)b[2] * x.beta + fabs(a) * 1e-6 + 1e-30;
                float low = -INFINITE, high = INFINITE;
                // Not where sums could overflow on the way.
                if ((double)b[3] * x.norm < 1e37 && r < 3.4e38) low = __double2float_rn(a - r), high = __double2float_rn(a + r);
                most[(size_t)(m0 + token) * n + row] = high;
                top = fmaxf(top, low);
            }
        }
        // Lanes of one t have the same token.
        for (int o = 4; o < 32; o <<= 1) top = fmaxf(top, __shfl_xor_sync(FULL_WARP, top, o));
        if (g == 0 && token < count) best[token][warp] = top;
    }
    __syncthreads();
    if (threadIdx.x < count) {
        float top = best[threadIdx.x][0];
        for (int i = 1; i < SCAN_ROWS / 16; i++) top = fmaxf(top, best[threadIdx.x][i]);
        least[(size_t)(m0 + threadIdx.x) * gridDim.y + blockIdx.y] = top;
    }
}

KERNEL(256, 2, screen_scan4)(const i8* codes, const Token* tokens, const u8* nibbles, const u8* crumbs, const float* bounds, float* most,
                             float* least, int m, int n, int cols) {
    scan<1>(codes, tokens, nibbles, crumbs, bounds, most, least, m, n, cols);
}
KERNEL(256, 2, screen_scan16)(const i8* codes, const Token* tokens, const u8* nibbles, const u8* crumbs, const float* bounds, float* most,
                              float* least, int m, int n, int cols) {
    scan<4>(codes, tokens, nibbles, crumbs, bounds, most, least, m, n, cols);
}

// kth is the k-th largest of n numbers, −Inf if there are fewer.
__device__ __forceinline__ float kth(const float* v, int n, int k) {
    if (k > n) return -INFINITE;
    unsigned found = 0;
    if (k == 1) {
        for (int i = threadIdx.x; i < n; i += blockDim.x) found = max(found, ordered(v[i]));
        found = (unsigned)block_max((u64)found);
    } else {
        for (unsigned bit = 0x80000000u; bit; bit >>= 1) {
            int count = 0;
            for (int i = threadIdx.x; i < n; i += blockDim.x) count += ordered(v[i]) >= (found | bit);
            if (block_sum(count) >= k) found |= bit;
        }
    }
    return unordered(found);
}

// finish writes the likeliest of the keys that all blocks have found: of each
// PICK_ROWS rows the first counts[i]. They are gathered in shared memory if they
// fit.
__device__ __forceinline__ void finish(const u64* keys, const int* counts, int chunks, int k, int most, int* ids, float* values, u64* held, int room) {
    __shared__ int total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    for (int c = threadIdx.x; c < chunks; c += blockDim.x) {
        int n = counts[c], to = atomicAdd(&total, n);
        for (int i = 0; i < n && to + i < room; i++) held[to + i] = keys[(size_t)c * PICK_ROWS + i];
    }
    __syncthreads();
    u64 before = ~0ull;
    for (int r = 0; r < most; r++) {
        u64 best = 0;
        if (r < k && before > 0) {
            if (total <= room) {
                for (int i = threadIdx.x; i < total; i += blockDim.x) {
                    if (held[i] < before) best = max(best, held[i]);
                }
            } else {
                for (int i = threadIdx.x; i < chunks * PICK_ROWS; i += blockDim.x) {
                    if (i % PICK_ROWS < counts[i / PICK_ROWS] && keys[i] < before) best = max(best, keys[i]);
                }
            }
            best = block_max(best);
        }
        if (threadIdx.x == 0) {
            ids[r] = best ? (int)~(unsigned)best : -1;
            values[r] = best ? unordered((unsigned)(best >> 32)) : -INFINITE;
        }
        before = best;
    }
}

#define HELD 2048

// pick multiplies the rows that can be among the keep[i] likeliest of token i, and
// the last block of a token writes ids and values i32, f32[m][wide]. Blocks are
// PICK_ROWS rows by tokens.
template <typename T>
__device__ __forceinline__ void pick(const float* x, const int* keep, const T* w, Token* tokens, const float* most, const float* least, u64* keys,
                                     int* counts, int* ids, float* values, int n, int k, int tiles, int wide) {
    DYNAMIC_SHARED(u64, held);
    __shared__ int found, last;
    int* rows = (int*)held;
    launch_dependents();
    grid_dependency_wait();
    int token = blockIdx.y, chunk = blockIdx.x, chunks = gridDim.x, want = keep[token];
    if (want < 1 || want > wide) want = wide;
    x += (size_t)token * k;
    keys += (size_t)token * chunks * PICK_ROWS;
    counts += (size_t)token * chunks;
    if (threadIdx.x == 0) found = 0;
    float cut = kth(least + (size_t)token * tiles, tiles, want);
    __syncthreads();
    int end = min(n, (chunk + 1) * PICK_ROWS);
    for (int r = chunk * PICK_ROWS + threadIdx.x; r < end; r += blockDim.x) {
        if (!(most[(size_t)token * n + r] < cut)) rows[atomicAdd(&found, 1)] = r;
    }
    __syncthreads();
    for (int i = threadIdx.x >> 5; i < found; i += blockDim.x >> 5) {
        float v = dot_row(w + (size_t)rows[i] * k, x, k);
        if ((threadIdx.x & 31) == 0) keys[(size_t)chunk * PICK_ROWS + i] = key(v, rows[i]);
    }
    if (threadIdx.x == 0) counts[chunk] = found;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(&tokens[token].ticket, 1) == chunks - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    finish(keys, counts, chunks, want, wide, ids + (size_t)token * wide, values + (size_t)token * wide, held, HELD);
}

#define PICK(name, T)                                                                                                                       \
    KERNEL(256, 2, screen_pick_##name)                                                                                                      \
    (const float* x, const int* keep, const T* w, Token* tokens, const float* most, const float* least, u64* keys, int* counts, int* ids,   \
     float* values, int n, int k, int tiles, int wide) {                                                                                    \
        pick(x, keep, w, tokens, most, least, keys, counts, ids, values, n, k, tiles, wide);                                                \
    }
PICK(f16, f16)
PICK(bf16, bf16)
