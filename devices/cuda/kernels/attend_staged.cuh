// Attention of a decode step on sm_90, with the bits of flash_decode.cuh: by clusters of
// blocks of threads, one for each token and key head, or by a block each.
//
// A block of threads has a block of keys at a time. In a cluster it sends what it has of it
// to those that join the columns of it, in order, without a detour through device memory and
// without a barrier: each counts the bytes that it expects. What a
// step waits for is latency, so a block asks for its keys and values before the kernels
// before this one are done, where those do not write them; what they do write, queries and a
// row of the keys and values, are one load.
//
// Products are those of flash_cached.cuh with rows and columns swapped, so that eight
// query heads fill an mma: scores[key][row] = keys queries', output[column][row] = values'
// probabilities'.
#pragma once
#include "attend_step.cuh"
#include "mbarrier.cuh"

// cluster_arrive and cluster_wait are a barrier of all threads of the cluster. Behind it
// they see each other's barriers for which mbarrier_inits was called.
__device__ __forceinline__ void cluster_arrive() {
#ifdef __CUDA_ARCH__
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void cluster_wait() {
#ifdef __CUDA_ARCH__
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    emulator::cluster_sync();
#endif
}

// pinned is x, which the compiler then has where this stands, and not later.
__device__ __forceinline__ int pinned(int x) { return __shfl_sync(FULL_WARP, x, threadIdx.x & 31); }

// Mail is shared memory that the blocks of a cluster write to in each other: of a phase,
// so many bytes.
struct Mail {
    u8* box;
#ifdef __CUDA_ARCH__
    int count, at;  // where they lie
    __device__ __forceinline__ Mail(Mbarrier* bar, u8* box) : box(box), count(pinned(shared_address(bar))), at(pinned(shared_address(box))) {}
#else
    __host__ __device__ Mail(Mbarrier*, u8* box) : box(box) {}
#endif

    // expect begins a phase; one thread calls it.
    __device__ __forceinline__ void expect(int bytes) const {
#ifdef __CUDA_ARCH__
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(count), "r"(bytes) : "memory");
#endif
    }

    // send stores a pair in a block's box.
    __device__ __forceinline__ void send(int block, int offset, float x, float y) const {
#ifdef __CUDA_ARCH__
        int to, done;
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(at), "r"(block));
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(done) : "r"(count), "r"(block));
        asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(to + offset), "f"(x), "f"(y),
                     "r"(done)
                     : "memory");
#else
        *(float2*)((u8*)emulator::in_cluster(box, block) + offset) = make_float2(x, y);
#endif
    }

    // wait waits until all of a phase is there. All threads of the cluster call it.
    __device__ __forceinline__ void wait(unsigned parity) const {
#ifdef __CUDA_ARCH__
        asm volatile(
            "{\n"
            ".reg .pred p;\n"
            "again:\n"
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
            "@p bra done;\n"
            "bra again;\n"
            "done:\n"
            "}" ::"r"(count), "r"(parity) : "memory");
#else
        emulator::cluster_sync();
#endif
    }
};

// prefetch_bulk asks the second cache for n bytes, as mbarrier_bulk asks for shared memory.
__device__ __forceinline__ void prefetch_bulk(const void* device, int n) {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(device), "r"(n) : "memory");
#endif
}

// line is where position p of a sequence begins in the cache.
__device__ __forceinline__ size_t line(const Cache& c, int seq, int p) {
    return (size_t)(c.table[seq * c.width + p / c.size] * c.size + p % c.size) * c.pitch;
}

// Staged is the shape of a cluster of BLOCKS blocks for heads up to HD, each with room for
// STAGES blocks of keys and values.
template <int HD, int BLOCKS, int STAGES>
struct Staged {
    static constexpr int ROWS = 8;             // query heads of a key head, at most
    static constexpr int PITCH = HD * 2 + 16;  // rows in shared memory: ldmatrix meets different banks
    static constexpr int THREADS = 128, COLUMNS = HD / BLOCKS;
    static constexpr int STAGE = 2 * KEYS * PITCH, HALF = KEYS * ROWS * 2, QUERIES = 2 * ROWS * PITCH;
    static constexpr int OWN = QUERIES + STAGES * STAGE + 2 * HALF + 4 * ROWS * 4;  // bytes before the boxes

    // box is the bytes of the parts of two rows: for each part, COLUMNS pairs of sums, and m
    // and l of the first and of the second row. They are read JOINED at once.
    static constexpr int PART = COLUMNS * 8 + 16, JOINED = 8;
    static __host__ __device__ __forceinline__ int box(int parts) { return (parts + JOINED - 1) / JOINED * JOINED * PART; }
    static int shared(int group, int parts) { return OWN + (BLOCKS > 1 ? (group + 1) / 2 * box(parts) : 0); }

    // load asks for a row of block j of a key head's keys or values, whose threads are t of 64,
    // and says to bar when it is there. Rows of values behind the last are zeros.
    static __device__ __forceinline__ void load(u8* panel, Mbarrier* bar, const u16* cache, const Cache& c, int seq, int head, int j, int last, int t) {
        const int p = j * KEYS + t, bytes = c.hd * 2;
        u8* to = panel + t * PITCH;
        zero(to, p <= last ? bytes : 0);
        if (p <= last)
            mbarrier_bulk(bar, to, cache + line(c, seq, p) + head * c.hd, bytes);
        else
            mbarrier_arrive(bar);
    }

    // zero clears a row from byte `at` on.
    static __device__ __forceinline__ void zero(u8* row, int at) {
#pragma unroll 1
        for (; at < HD * 2; at += 16) *(uint4*)(row + at) = make_uint4(0, 0, 0, 0);
    }

    // asked loads a fragment of b of each half of the queries: elements 16k..16k+15.
    static __device__ __forceinline__ void asked(unsigned (&f)[4], const u8* queries, int k) {
        const int lane = threadIdx.x & 31;
        ldmatrix_x4(f, queries + ((lane >> 4) * ROWS + (lane & 7)) * PITCH + (lane >> 3 & 1) * 16 + k * 32);
    }

    // likely is that of the probabilities of keys 16k..16k+15; a key's of all rows lie
    // together.
    static __device__ __forceinline__ void likely(unsigned (&f)[4], const u8* probabilities, int k) {
        const int lane = threadIdx.x & 31;
        ldmatrix_x4_trans(f, probabilities + (lane >> 4) * HALF + (k * 16 + (lane & 15)) * ROWS * 2);
    }

    // rows_a loads the fragment of a of keys key..key+15 and elements 16k..16k+15.
    static __device__ __forceinline__ void rows_a(unsigned (&f)[4], const u8* panel, int key, int k) {
        const int lane = threadIdx.x & 31;
        ldmatrix_x4(f, panel + (key + (lane & 15)) * PITCH + (lane >> 4) * 16 + k * 32);
    }

    // columns_a loads the fragment of a of columns col..col+15 and keys key..key+15.
    static __device__ __forceinline__ void columns_a(unsigned (&f)[4], const u8* panel, int col, int key) {
        const int lane = threadIdx.x & 31;
        ldmatrix_x4_trans(f, panel + (key + (lane >> 4) * 8 + (lane & 7)) * PITCH + (lane >> 3 & 1) * 16 + col * 2);
    }
};

// Turn is a pair of neighbouring columns' angles, which rotate them and those half a head
// further.
struct Turn {
    float2 cosine, sine;
    __device__ __forceinline__ Turn(const float* angles, int half) : cosine(*(const float2*)angles), sine(*(const float2*)(angles + half)) {}
    __device__ __forceinline__ float2 low(float2 a, float2 b) const {
        return make_float2(__fadd_rn(__fmul_rn(a.x, cosine.x), -__fmul_rn(b.x, sine.x)), __fadd_rn(__fmul_rn(a.y, cosine.y), -__fmul_rn(b.y, sine.y)));
    }
    __device__ __forceinline__ float2 high(float2 a, float2 b) const {
        return make_float2(__fadd_rn(__fmul_rn(b.x, cosine.x), __fmul_rn(a.x, sine.x)), __fadd_rn(__fmul_rn(b.y, cosine.y), __fmul_rn(a.y, sine.y)));
    }
};

// attend_staged is the work of a block of threads. Up to `parts` blocks of keys are joined
// at once. eager says that seq, pos and the cache are ready before the kernels before this
// one are done.
template <int HD, int BLOCKS, int STAGES>
__device__ __forceinline__ void attend_staged(u16* kc, u16* vc, const float* q, const float* k, const float* v, const int* seq, const int* pos, const int* table,
                                               const float* angles, float* o, int tokens, int heads, int group, int hd, int width, int size, int window,
                                               float scale, int parts, int eager) {
    typedef Staged<HD, BLOCKS, STAGES> Z;
    constexpr bool ALONE = BLOCKS == 1;
    constexpr int PITCH = Z::PITCH, ROWS = Z::ROWS, COLUMNS = Z::COLUMNS, MT = HD / 64;  // MT: tiles of 16 columns a warp
    constexpr int STEP = ALONE ? 1 : -BLOCKS;                                             // from a block of keys to the next
    constexpr int QUARTER = HD / 4, ITEMS = ROWS * QUARTER / Z::THREADS;  // pairs of columns of queries that a thread rotates
    DYNAMIC_SHARED(u8, shared);
    __shared__ Mbarrier full[2][STAGES], arrived;  // keys, values
    __shared__ int list[STEP_TOKENS], others;
    launch_dependents();
    if (!eager) grid_dependency_wait();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = threadIdx.x;
    const int rank = blockIdx.x, head = blockIdx.y, token = blockIdx.z, half = hd / 2, wide = heads / group * hd;
    const int at = pos[token], s = seq[token];
    u8 *queries = shared, *stages = shared + Z::QUERIES, *probabilities = stages + STAGES * Z::STAGE;
    float2* most = (float2*)(probabilities + 2 * Z::HALF);  // [warp][two rows]
    const Mail mail(&arrived, shared + Z::OWN);
        if (t < 2 * STAGES) mbarrier_init(&full[0][0] + t, KEYS);
    if (t == 0) mbarrier_init(&arrived, 1), others = 0;
    mbarrier_inits();
    __syncthreads();
    if (!ALONE) cluster_arrive();

    const Cache c = {kc, vc, table, width, size, wide, hd};
    const Seen seen(at, window);
    const int first = seen.first / KEYS, end = seen.last / KEYS;
    int base = first, top = ALONE ? end : min(first + parts - 1, end), used = 0;
    // ask asks for block j as the keys or values of a use: the threads do that have them.
    const bool second = t >= KEYS;
    const u16* cache = second ? vc : kc;
    auto ask = [&](int j, int use, bool values) {
        if (values == second) Z::load(stages + use % STAGES * Z::STAGE + second * (KEYS * PITCH), full[second] + use % STAGES, cache, c, s, head, j, seen.last, t % KEYS);
    };
    // In a cluster, the last blocks of keys come first: there is what the step appends.
    int j = ALONE ? first : top - rank;
    auto has = [&](int j) { return ALONE ? j <= top : j >= base; };
#pragma unroll
    for (int i = 0; i < STAGES; i++) {
        if (has(j + i * STEP)) ask(j + i * STEP, i, second);
    }
    // Later ones come from device memory meanwhile.
#pragma unroll 1
    for (int i = STAGES; i < STAGES + 3 && has(j + i * STEP); i++) {
        int p = (j + i * STEP) * KEYS + t % KEYS;
        if (p <= seen.last) prefetch_bulk(cache + line(c, s, p) + head * hd, hd * 2);
    }
    const int pairs = (group + 1) / 2, mails = pairs * Z::PART;
    // In a cluster the thread joins a column of a row. Its parts lie in a box.
    const int row = t / (2 * COLUMNS) * 2 + (t & 1), column = t / 2 % COLUMNS;
    const int box = pinned((row >> 1) * Z::box(parts) + (row & 1) * 4);
    if (!ALONE && t == 0) mail.expect((top - base + 1) * mails);
    // Where this thread's pair of columns, and of the values four, is to be found.
    const int e = t % QUARTER * 2;
    const bool turns = e < half, keys = t < QUARTER && turns, values = t >= 64 && t - 64 < hd / 4;
    const int column_k = head * hd + (turns ? e : 0), column_v = head * hd + (values ? 4 * (t - 64) : 0);
    const Turn turn(angles + (size_t)at * hd + (turns ? e : 0), half);
    int from_q[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        int row = t / QUARTER + i * (Z::THREADS / QUARTER);
        from_q[i] = pinned((token * heads + head * group + (row < group ? row : 0)) * hd + (turns ? e : 0));
    }
    const int from_k = pinned(token * wide + column_k), from_v = pinned(token * wide + column_v);
    const size_t to = line(c, s, at) + head * hd;
    for (int i = t; i < Z::QUERIES / 16; i += Z::THREADS) ((uint4*)queries)[i] = make_uint4(0, 0, 0, 0);
    if (tokens > 1) {
        int i = t;
        if (i < tokens && i != token && seq[i] == s && pos[i] <= at) list[atomicAdd(&others, 1)] = i;
    }
    __syncthreads();
    const int more = others;
    if (!ALONE) cluster_wait();
    if (eager) grid_dependency_wait();

    // put writes a row of the step into a stage, of k and v from where it is told, and into the
    // cache at `to` if it is this one's own.
    auto put = [&](u8* stage, int p, float2 u, float2 w, float4 x, const Turn& turn, bool append, size_t to) {
        if (keys) {
            float2 a = turn.low(u, w), b = turn.high(u, w);
            unsigned lo = f16x2(a.x, a.y), hi = f16x2(b.x, b.y);
            u8* row = stage + p % KEYS * PITCH + 2 * e;
            *(unsigned*)row = lo, *(unsigned*)(row + hd) = hi;
            if (append) *(unsigned*)(kc + to + e) = lo, *(unsigned*)(kc + to + half + e) = hi;
        }
        if (values) {
            uint2 y = make_uint2(f16x2(x.x, x.y), f16x2(x.z, x.w));
            *(uint2*)(stage + (KEYS + p % KEYS) * PITCH + 8 * (t - 64)) = y;
            if (append) *(uint2*)(vc + to + 4 * (t - 64)) = y;
        }
    };
    // begin waits for the keys of block j, and says whether it wrote rows of the step into it.
    auto begin = [&](int j, bool own) {
        u8* stage = stages + used % STAGES * Z::STAGE;
        const int parity = used / STAGES & 1;
        mbarrier_wait(full[0] + used % STAGES, parity);
        if (j != end && more == 0) return false;
        mbarrier_wait(full[1] + used % STAGES, parity);
        bool wrote = false;
#pragma unroll 1
        for (int n = own && j == end ? -1 : 0; n < more; n++) {
            const int i = n < 0 ? token : list[n], p = pos[i];
            if (p / KEYS != j) continue;
            const float *from = k + (size_t)i * wide + column_k, *at = angles + (size_t)p * hd + (turns ? e : 0);
            put(stage, p, *(const float2*)from, *(const float2*)(from + half), *(const float4*)(v + (size_t)i * wide + column_v), Turn(at, half), n < 0,
                line(c, s, p) + head * hd);
            wrote = true;
        }
        return wrote;
    };
    // One latency: what is not needed is loaded all the same.
    const float2 u = *(const float2*)(k + from_k), w = *(const float2*)(k + from_k + half);
    const float4 x = *(const float4*)(v + from_v);
    float2 a[ITEMS], b[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) a[i] = *(const float2*)(q + from_q[i]), b[i] = *(const float2*)(q + from_q[i] + half);
    if (has(j)) {
        begin(j, false);
        if (j == end) put(stages, at, u, w, x, turn, true, to);
    }
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        int row = t / QUARTER + i * (Z::THREADS / QUARTER);
        if (!turns || row >= group) continue;
        float2 lo = turn.low(a[i], b[i]), hi = turn.high(a[i], b[i]);
        Split l = split(lo.x, lo.y), h = split(hi.x, hi.y);
        u8* to = queries + row * PITCH + e * 2;
        *(unsigned*)to = l.hi, *(unsigned*)(to + hd) = h.hi;
        *(unsigned*)(to + ROWS * PITCH) = l.lo, *(unsigned*)(to + ROWS * PITCH + hd) = h.lo;
    }
    __syncthreads();

    // What the thread joins: of two rows, 2(lane%4) and the next, the columns that it has of
    // the output; in a cluster, one column of one row.
    constexpr int OWN = ALONE ? 2 : 1;
    float m[OWN], l[OWN], sum[OWN][2 * MT];
#pragma unroll
    for (int r = 0; r < OWN; r++) {
        m[r] = -INFINITY, l[r] = 0.0f;
#pragma unroll
        for (int n = 0; n < 2 * MT; n++) sum[r][n] = 0.0f;
    }
    for (int phase = 0;; phase ^= 1) {
        for (; has(j); j += STEP) {
            const u8 *ks = stages + used % STAGES * Z::STAGE, *vs = ks + KEYS * PITCH;
            float y[4];  // keys g and g+8 of the warp's, two rows each
#pragma unroll
            for (int i = 0; i < HD / 16; i++) {
                unsigned a[4], f[4];
                Z::rows_a(a, ks, warp * 16, i);
                Z::asked(f, queries, i);
                PAIR(hi, f, 0);
                PAIR(lo, f, 1);
                if (i == 0)
                    mma_f16_first(y, a, hi);
                else
                    mma_f16(y, a, hi);
                mma_f16(y, a, lo);
            }
            float2 mj;
#pragma unroll
            for (int i = 0; i < 4; i++) y[i] = seen(j * KEYS + warp * 16 + (i >> 1) * 8 + g) ? __fmul_rn(y[i], scale) : -INFINITY;
            mj.x = fmaxf(y[0], y[2]), mj.y = fmaxf(y[1], y[3]);
#pragma unroll
            for (int i = 4; i < 32; i *= 2) {
                mj.x = fmaxf(mj.x, __shfl_xor_sync(FULL_WARP, mj.x, i));
                mj.y = fmaxf(mj.y, __shfl_xor_sync(FULL_WARP, mj.y, i));
            }
            if (g == 0) most[warp * 4 + lane] = mj;
            __syncthreads();  // and all have read the keys
            const bool again = has(j + STAGES * STEP);
            if (again) visible(), ask(j + STAGES * STEP, used + STAGES, false);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float2 x = most[i * 4 + (lane & 3)];
                mj.x = fmaxf(mj.x, x.x), mj.y = fmaxf(mj.y, x.y);
            }
#pragma unroll
            for (int h = 0; h < 2; h++) {
                Split p = split(probability(y[2 * h], above(mj.x)), probability(y[2 * h + 1], above(mj.y)));
                u8* to = probabilities + (warp * 16 + h * 8) * ROWS * 2 + lane * 4;
                *(unsigned*)to = p.hi, *(unsigned*)(to + Z::HALF) = p.lo;
            }
            mbarrier_wait(full[1] + used % STAGES, used / STAGES & 1);
            __syncthreads();
            float lj[4] = {0, 0, 0, 0}, oj[MT][4];
            const unsigned ones[4] = {0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u};
#pragma unroll
            for (int i = 0; i < KEYS / 16; i++) {
                unsigned f[4], a[MT][4];
                Z::likely(f, probabilities, i);
                PAIR(hi, f, 0);
                PAIR(lo, f, 1);
#pragma unroll
                for (int n = 0; n < MT; n++) Z::columns_a(a[n], vs, (warp * MT + n) * 16, i * 16);
                mma_f16(lj, ones, hi);
#pragma unroll
                for (int n = 0; n < MT; n++) {
                    if (i == 0)
                        mma_f16_first(oj[n], a[n], hi);
                    else
                        mma_f16(oj[n], a[n], hi);
                }
                mma_f16(lj, ones, lo);
#pragma unroll
                for (int n = 0; n < MT; n++) mma_f16(oj[n], a[n], lo);
            }
            if constexpr (ALONE) {
#pragma unroll
                for (int r = 0; r < OWN; r++) {
                    Joining join(m[r], r ? mj.y : mj.x);
                    m[r] = join.m, l[r] = join(l[r], lj[r]);
#pragma unroll
                    for (int n = 0; n < 2 * MT; n++) sum[r][n] = join(sum[r][n], oj[n / 2][n % 2 * 2 + r]);
                }
            } else if ((lane & 3) < pairs) {
                const int slot = (lane & 3) * Z::box(parts) + (j - base) * Z::PART, TO = BLOCKS / 4;  // TO: blocks whose columns a warp has
                if (g < TO) {
                    mail.send(warp * TO + g, slot + COLUMNS * 8, mj.x, lj[0]);
                    mail.send(warp * TO + g, slot + COLUMNS * 8 + 8, mj.y, lj[1]);
                }
#pragma unroll
                for (int n = 0; n < 2 * MT; n++) {
                    int col = warp * MT * 16 + n * 8 + g;
                    mail.send(col / COLUMNS, slot + col % COLUMNS * 8, oj[n / 2][n % 2 * 2], oj[n / 2][n % 2 * 2 + 1]);
                }
            }
            if (again) {
                __syncthreads();  // all have read the values
                visible();
                ask(j + STAGES * STEP, used + STAGES, true);
            }
            used++;
            if (has(j + STEP) && begin(j + STEP, true)) __syncthreads();
        }
        if constexpr (ALONE) break;
        mail.wait(phase);
        if (row < group) {
            const u8* from = mail.box + box;
            for (int n = top - base + 1; n > 0; n -= Z::JOINED, from += Z::JOINED * Z::PART) {
                float2 ml[Z::JOINED];
                float z[Z::JOINED];
#pragma unroll
                for (int i = 0; i < Z::JOINED; i++) {
                    ml[i] = *(const float2*)(from + i * Z::PART + COLUMNS * 8 + (row & 1) * 4);
                    z[i] = *(const float*)(from + i * Z::PART + column * 8);
                }
#pragma unroll
                for (int i = 0; i < Z::JOINED; i++) {
                    Joining join(m[0], i < n ? ml[i].x : -INFINITY);
                    float more = join(l[0], ml[i].y), next = join(sum[0][0], z[i]);
                    m[0] = join.m, l[0] = i < n ? more : l[0], sum[0][0] = i < n ? next : sum[0][0];
                }
            }
        }
        if (top == end) break;
        __syncthreads();
        base += parts, top = min(top + parts, end);
        if (t == 0) mail.expect((top - base + 1) * mails);
        cluster_arrive();
        cluster_wait();
        visible();
        j = top - rank;
#pragma unroll
        for (int i = 0; i < STAGES; i++) {
            if (has(j + i * STEP)) ask(j + i * STEP, used + i, second);
        }
        if (has(j) && begin(j, true)) __syncthreads();
    }
    float* out = o + (size_t)token * heads * hd;
    if constexpr (ALONE) {
#pragma unroll
        for (int r = 0; r < OWN; r++) {
            const int row = (lane & 3) * 2 + r;
            const float inverse = __frcp_rn(l[r]);
#pragma unroll
            for (int n = 0; n < 2 * MT; n++) {
                int col = warp * MT * 16 + n * 8 + g;
                if (row < group && col < hd) out[(head * group + row) * hd + col] = __fmul_rn(sum[r][n], inverse);
            }
        }
    } else {
        if (row < group && rank * COLUMNS + column < hd) out[(head * group + row) * hd + rank * COLUMNS + column] = __fmul_rn(sum[0][0], __frcp_rn(l[0]));
    }
}
