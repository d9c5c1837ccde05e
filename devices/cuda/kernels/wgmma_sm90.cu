// Ternary products of many rows on Hopper's warpgroup instructions: int8
// activations q[m,k], 2-bit weights t[n,k] in layout i2x64.dp4a (ternary.cuh),
// int32 sums, exact. gemm.cu computes the same on older GPUs.
//
// A block's first warpgroup fills stages of shared memory: it copies codes of
// tokens, and unpacks weights with a shift and a mask (gemm.cu tells why sums are 64
// times the products). The other warpgroups multiply, 64 tokens each. Barriers say
// which stages are full and which are empty again. So the tensor cores never wait
// for the unpacking, and weights cross the GPU packed.
//
// A block takes tiles of the result, one after the other; the first warpgroup goes
// on with the next while the others store. Where tiles are few, several blocks share
// the inner dimension of one: they leave sums in memory, and the last adds them up.
#ifdef __CUDACC__
#define SM90
#endif
#include "pdl.cuh"
#include "wgmma.cuh"

#define STEP 128  // elements of the inner dimension in a stage, and bytes of a row there

// Tile is how a block works: GROUPS warpgroups of 64 tokens, N rows of weights.
template <int GROUPS_, int N_, int STAGES_>
struct Tile {
    static const int GROUPS = GROUPS_, N = N_, STAGES = STAGES_;
    static const int M = GROUPS * 64, THREADS = 128 + GROUPS * 128;
    static const int A_BYTES = M * STEP, STAGE = A_BYTES + N * STEP;
    static const int UNITS = (N * 2 + 127) / 128;  // packed units of a stage for a thread that fills
};

struct WideWeight {
    const uint4* t;
    const float* gamma;
    void* out;
    int n;
};

// Wide is a call: up to three matrices, those left out with n = 0. Tiles of one
// follow those of the other; with a gate there are two, and a tile has eight rows of
// the first, the same of the second, and so on.
struct Wide {
    const i8* q;
    const float *s, *res;
    int m, k;
    WideWeight w[3];
    int splits;
    int *part, *tickets;
};

// Piece is what a block does at a time: the steps from..to of one tile.
template <class T, bool GATE>
struct Piece {
    int token0, tile, row0, from, to;
    WideWeight w;

    // The token tiles of one tile of weights are taken together, so that its
    // weights are read once.
    __device__ __forceinline__ Piece(const Wide& o, int index, int rows, int cols) {
        const int steps = (o.k + STEP - 1) / STEP, each = (steps + o.splits - 1) / o.splits;
        const int split = index / (rows * cols);
        tile = index % (rows * cols);
        token0 = tile % rows * T::M;
        from = min(split * each, steps);
        to = min(from + each, steps);
        int col = tile / rows;
        w = o.w[0];
        if (GATE) {
            row0 = col * (T::N / 2);
            return;
        }
        int many = (o.w[0].n + T::N - 1) / T::N;
        if (col >= many) {
            col -= many;
            w = o.w[1];
            many = (o.w[1].n + T::N - 1) / T::N;
            if (col >= many) {
                col -= many;
                w = o.w[2];
            }
        }
        row0 = col * T::N;
    }
};

// Ring counts stages.
template <class T>
struct Ring {
    int stage;
    unsigned parity;  // of the stage's phase
    __device__ __forceinline__ Ring() : stage(0), parity(0) {}
    __device__ __forceinline__ void next() {
        if (++stage == T::STAGES) stage = 0, parity ^= 1;
    }
};

// Source is where a filling thread reads weights: unit t%2 of a step, of rows t/2,
// t/2+64 and so on of the tile.
template <class T, bool GATE>
struct Source {
    static const int ROWS = GATE ? 32 : 64;  // of a matrix, between two of its units
    const uint4* at;
    size_t pitch;  // of ROWS
    int row, n, units, step, to;
    bool whole;  // all rows of the tile are there
    int index, total, rows, cols;

    __device__ __forceinline__ Source(const Wide& o, int index, int total, int rows, int cols)
        : index(index), total(total), rows(rows), cols(cols) {
        units = (o.k + 63) / 64;
        pitch = (size_t)ROWS * units;
        if (index < total) open(o);
    }

    __device__ __forceinline__ void open(const Wide& o) {
        Piece<T, GATE> p(o, index, rows, cols);
        int r = threadIdx.x >> 1;
        const uint4* t = p.w.t;
        if (GATE) {
            if (r & 8) t = o.w[1].t;
            r = (r >> 4) * 8 + (r & 7);
        }
        row = p.row0 + r;
        n = p.w.n;
        step = p.from;
        to = p.to;
        at = t + (size_t)row * units + 2 * step + (threadIdx.x & 1);
        whole = p.row0 + (GATE ? T::N / 2 : T::N) <= n;
    }

    // read takes a step's units and moves on.
    __device__ __forceinline__ void read(const Wide& o, uint4 (&v)[T::UNITS]) {
        if (index >= total) return;
        const uint4* from = at;
        const bool all = whole && 2 * step + 2 <= units;
#pragma unroll
        for (int i = 0; i < T::UNITS; i++, from += pitch) {
            bool in = all || (row + i * ROWS < n && 2 * step + (int)(threadIdx.x & 1) < units);
            if (i == T::UNITS - 1 && T::N % 64 != 0) in = in && (threadIdx.x >> 1) + i * 64 < T::N;
            v[i] = in ? __ldg(from) : make_uint4(0, 0, 0, 0);
        }
        at += 2;
        if (++step < to) return;
        index += gridDim.x;
        if (index < total) open(o);
    }
};

// put_units unpacks weights into the panel of a stage.
template <class T>
__device__ __forceinline__ void put_units(u8* panel, const uint4 (&v)[T::UNITS]) {
    const int r = threadIdx.x >> 1, first = (threadIdx.x & 1) * 4;
#pragma unroll
    for (int i = 0; i < T::UNITS; i++) {
        if (T::N % 64 != 0 && r + i * 64 >= T::N) break;
        u8* row = panel + (r + i * 64) * STEP;
        const unsigned w[4] = {v[i].x, v[i].y, v[i].z, v[i].w};
#pragma unroll
        for (int c = 0; c < 4; c++)
            *(uint4*)(row + (((first + c) ^ (r & 7)) << 4)) =
                make_uint4(w[c] & 0xc0c0c0c0u, w[c] << 2 & 0xc0c0c0c0u, w[c] << 4 & 0xc0c0c0c0u, w[c] << 6 & 0xc0c0c0c0u);
    }
}

// Codes is where a filling thread copies codes from: chunk t%8 of a step, of tokens
// t/8, t/8+16 and so on of the tile.
template <class T>
struct Codes {
    const i8* at;
    size_t pitch;  // of 16 tokens
    int token, e;  // element
    bool whole;

    __device__ __forceinline__ Codes(const Wide& o, int token0, int step) {
        token = token0 + (threadIdx.x >> 3);
        e = step * STEP + (threadIdx.x & 7) * 16;
        at = o.q + (size_t)token * o.k + e;
        pitch = (size_t)16 * o.k;
        whole = token0 + T::M <= o.m;
    }

    // copy starts to copy a step's codes and moves on; what lies outside becomes zero.
    __device__ __forceinline__ void copy(u8* panel, const Wide& o) {
        const int r = threadIdx.x >> 3, c = threadIdx.x & 7;
        u8* to = panel + r * STEP + ((c ^ (r & 7)) << 4);
        const i8* from = at;
        if (whole && e < o.k) {
#pragma unroll
            for (int i = 0; i < T::M / 16; i++, from += pitch) cp_async16(to + i * 16 * STEP, from);
        } else {
#pragma unroll
            for (int i = 0; i < T::M / 16; i++, from += pitch) {
                bool in = token + i * 16 < o.m && e < o.k;
                cp_async16(to + i * 16 * STEP, in ? from : o.q, in ? 16 : 0);
            }
        }
        at += STEP;
        e += STEP;
    }
};

// Stages is the block's shared memory.
template <class T>
struct Stages {
    u8* at;
    Mbarrier *full, *empty;
    int* last;

    __device__ __forceinline__ Stages(u8* shared) {
        full = (Mbarrier*)shared;
        empty = full + T::STAGES;
        last = (int*)(empty + T::STAGES);
        at = align1024((u8*)(last + 4));
    }
};

template <class T, bool GATE>
__device__ __forceinline__ void fill(const Stages<T>& z, const Wide& o, int total, int rows, int cols) {
    const int AHEAD = 3;  // steps whose weights are under way
    int index = blockIdx.x;
    Source<T, GATE> source(o, index, total, rows, cols);
    uint4 v[AHEAD][T::UNITS];
#pragma unroll
    for (int i = 0; i < AHEAD; i++) source.read(o, v[i]);
    grid_dependency_wait();

    Piece<T, GATE> p(o, index, rows, cols);
    Codes<T> codes(o, p.token0, p.from);
    int left = p.to - p.from;
    Ring<T> ring;
    while (index < total) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            if (index >= total) break;
            u8* stage = z.at + ring.stage * T::STAGE;
            mbarrier_wait(z.empty + ring.stage, ring.parity ^ 1);
            codes.copy(stage, o);
            cp_async_arrive(z.full + ring.stage);
            put_units<T>(stage + T::A_BYTES, v[i]);
            visible();
            __syncwarp();
            if ((threadIdx.x & 31) == 0) mbarrier_arrive(z.full + ring.stage);
            ring.next();
            source.read(o, v[i]);
            if (--left > 0) continue;
            index += gridDim.x;
            if (index >= total) break;
            p = Piece<T, GATE>(o, index, rows, cols);
            codes = Codes<T>(o, p.token0, p.from);
            left = p.to - p.from;
        }
    }
    cp_async_wait<0>();
}

// sums multiplies the steps of a piece.
template <class T>
__device__ __forceinline__ void sums(int (&acc)[T::N / 2], const Stages<T>& z, int group, int steps, Ring<T>& ring) {
#pragma unroll
    for (int i = 0; i < T::N / 2; i++) acc[i] = 0;
    const bool leader = (threadIdx.x & 31) == 0;
    Mbarrier* before = 0;  // of the stage that may still be read
    for (int i = 0; i < steps; i++) {
        mbarrier_wait(z.full + ring.stage, ring.parity);
        visible();  // the codes
        const u8* stage = z.at + ring.stage * T::STAGE;
        unsigned long long a = descriptor(stage + group * 64 * STEP), b = descriptor(stage + T::A_BYTES);
        wgmma_fence();
#pragma unroll
        for (int h = 0; h < STEP / 32; h++) wgmma<T::N>(acc, a + 2 * h, b + 2 * h);
        wgmma_commit();
        wgmma_wait<1>();
        if (i > 0 && leader) mbarrier_arrive(before);
        before = z.empty + ring.stage;
        ring.next();
    }
    wgmma_wait<0>();
    if (leader) mbarrier_arrive(before);
}

// whole adds the sums of the other blocks that share the tile, if this is the last
// of them; if not, it reports false.
template <class T>
__device__ __forceinline__ bool whole(int (&acc)[T::N / 2], const Stages<T>& z, const Wide& o, int tile, int split, int thread) {
    const int LIVE = T::GROUPS * 128, FOURS = T::N / 8, AT_ONCE = T::N <= 128 ? 16 : 4;
    const size_t SIZE = (size_t)FOURS * LIVE;  // of a part, in int4
    int4* parts = (int4*)o.part + (size_t)tile * o.splits * SIZE + thread;
#pragma unroll
    for (int i = 0; i < FOURS; i++)
        parts[split * SIZE + i * LIVE] = make_int4(acc[4 * i], acc[4 * i + 1], acc[4 * i + 2], acc[4 * i + 3]);
    __threadfence();
    barrier(1, LIVE);
    if (thread == 0) {
        *z.last = atomicAdd(o.tickets + tile, 1) == o.splits - 1;
        if (*z.last) o.tickets[tile] = 0;
        __threadfence();
    }
    barrier(1, LIVE);
    if (!*z.last) return false;
    for (int other = 0; other < o.splits; other++) {
        if (other == split) continue;
#pragma unroll
        for (int i0 = 0; i0 < FOURS; i0 += AT_ONCE) {
            int4 more[AT_ONCE];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) more[i] = __ldcg(parts + other * SIZE + (i0 + i) * LIVE);
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                int* to = acc + 4 * (i0 + i);
                to[0] += more[i].x, to[1] += more[i].y, to[2] += more[i].z, to[3] += more[i].w;
            }
        }
    }
    return true;
}

// Row is where a thread's results of one token go: pairs of columns, eight apart.
// All are there if WHOLE, which also means that pairs are aligned.
template <bool WHOLE>
struct Row {
    int col0, n;
    size_t at;

    __device__ __forceinline__ Row(int token, int col0, int n) : col0(col0), n(n), at((size_t)token * n + col0) {}

    __device__ __forceinline__ bool has(int j, int e) const { return WHOLE || col0 + 8 * j + e < n; }

    __device__ __forceinline__ float2 get(const float* from, int j) const {
        from += at + 8 * j;
        if (WHOLE) return *(const float2*)from;
        return make_float2(has(j, 0) ? from[0] : 0.0f, has(j, 1) ? from[1] : 0.0f);
    }

    __device__ __forceinline__ void put(float* to, int j, float2 v) const {
        to += at + 8 * j;
        if (WHOLE) {
            *(float2*)to = v;
            return;
        }
        if (has(j, 0)) to[0] = v.x;
        if (has(j, 1)) to[1] = v.y;
    }
};

// put_sums stores sums, where s is 0, or else sum*(gamma/s), plus res where that is
// not 0; each operation rounds.
template <class T, bool WHOLE>
__device__ __forceinline__ void put_sums(const int (&acc)[T::N / 2], const Wide& o, const WideWeight& w, int token, int col0) {
    const int AT_ONCE = 4;
    const float gamma = o.s ? *w.gamma : 0.0f;
    float* out = (float*)w.out;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (token + 8 * h >= o.m) return;
        const float f = o.s ? __fdiv_rn(gamma, o.s[token + 8 * h]) : 0.0f;
        const Row<WHOLE> row(token + 8 * h, col0, w.n);
#pragma unroll
        for (int j0 = 0; j0 < T::N / 8; j0 += AT_ONCE) {
            float2 v[AT_ONCE], add[AT_ONCE];
            if (o.res) {
#pragma unroll
                for (int j = 0; j < AT_ONCE; j++) add[j] = row.get(o.res, j0 + j);
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) {
                const int x = 4 * (j0 + j) + 2 * h, a = acc[x] >> 6, b = acc[x + 1] >> 6;
                v[j] = make_float2(__int_as_float(a), __int_as_float(b));
                if (o.s) v[j] = make_float2(__fmul_rn((float)a, f), __fmul_rn((float)b, f));
                if (o.res) v[j] = make_float2(__fadd_rn(v[j].x, add[j].x), __fadd_rn(v[j].y, add[j].y));
            }
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++) row.put(out, j0 + j, v[j]);
        }
    }
}

// put_gated stores relu2(gate) * up.
template <class T, bool WHOLE>
__device__ __forceinline__ void put_gated(const int (&acc)[T::N / 2], const Wide& o, int token, int col0) {
    const float gamma0 = *o.w[0].gamma, gamma1 = *o.w[1].gamma;
    float* out = (float*)o.w[0].out;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (token + 8 * h >= o.m) return;
        const float s = o.s[token + 8 * h], f0 = __fdiv_rn(gamma0, s), f1 = __fdiv_rn(gamma1, s);
        const Row<WHOLE> row(token + 8 * h, col0, o.w[0].n);
#pragma unroll
        for (int j = 0; j < T::N / 16; j++) {
            float y[2];
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const int x = 8 * j + 2 * h + e;
                float g = fmaxf(__fmul_rn((float)(acc[x] >> 6), f0), 0.0f);
                y[e] = __fmul_rn(__fmul_rn(g, g), __fmul_rn((float)(acc[x + 4] >> 6), f1));
            }
            row.put(out, j, make_float2(y[0], y[1]));
        }
    }
}

template <class T, bool GATE>
__device__ __forceinline__ void wide(const Wide& o) {
    DYNAMIC_SHARED(u8, shared);
    Stages<T> z(shared);
    launch_dependents();
    if (threadIdx.x == 0) {
        for (int i = 0; i < T::STAGES; i++) {
            mbarrier_init(z.full + i, 128 + 4);         // copies of threads, and warps that unpack
            mbarrier_init(z.empty + i, T::GROUPS * 4);  // warps that multiply
        }
    }
    __syncthreads();
    const int rows = (o.m + T::M - 1) / T::M;
    int cols;
    if (GATE)
        cols = (o.w[0].n + T::N / 2 - 1) / (T::N / 2);
    else
        cols = (o.w[0].n + T::N - 1) / T::N + (o.w[1].n + T::N - 1) / T::N + (o.w[2].n + T::N - 1) / T::N;
    const int total = rows * cols * o.splits;
    if (threadIdx.x < 128) {
        fill<T, GATE>(z, o, total, rows, cols);
        return;
    }
    grid_dependency_wait();
    const int thread = threadIdx.x - 128, group = thread >> 7;
    Ring<T> ring;
    for (int index = blockIdx.x; index < total; index += gridDim.x) {
        Piece<T, GATE> p(o, index, rows, cols);
        int acc[T::N / 2];
        sums<T>(acc, z, group, p.to - p.from, ring);
        if (o.splits > 1 && !whole<T>(acc, z, o, p.tile, index / (rows * cols), thread)) continue;
        const int token = p.token0 + (thread >> 5) * 16 + (thread >> 2 & 7), col = p.row0 + (thread & 3) * 2;
        const bool inside = (p.w.n & 1) == 0 && p.row0 + (GATE ? T::N / 2 : T::N) <= p.w.n;
        if (GATE && inside)
            put_gated<T, true>(acc, o, token, col);
        else if (GATE)
            put_gated<T, false>(acc, o, token, col);
        else if (inside)
            put_sums<T, true>(acc, o, p.w, token, col);
        else
            put_sums<T, false>(acc, o, p.w, token, col);
    }
}

// WIDE_KERNELS defines the kernels of one tile, named tokens x rows of weights.
#define WIDE_KERNELS(NAME)                                                                                                          \
    KERNEL(Tile##NAME::THREADS, 1, ternary_wgmma_##NAME)                                                                             \
    (const i8* q, const float* s, const float* res, int m, int k, const uint4* t0, const float* gamma0, void* out0, int n0,        \
     const uint4* t1, const float* gamma1, void* out1, int n1, const uint4* t2, const float* gamma2, void* out2, int n2,           \
     int splits, int* part, int* tickets) {                                                                                         \
        wide<Tile##NAME, false>({q, s, res, m, k, {{t0, gamma0, out0, n0}, {t1, gamma1, out1, n1}, {t2, gamma2, out2, n2}},          \
                                 splits, part, tickets});                                                                           \
    }                                                                                                                               \
    KERNEL(Tile##NAME::THREADS, 1, glu_wgmma_##NAME)                                                                                 \
    (const i8* q, const float* s, const uint4* gate, const float* gamma0, const uint4* up, const float* gamma1, float* out, int m,  \
     int n, int k, int splits, int* part, int* tickets) {                                                                           \
        wide<Tile##NAME, true>({q, s, 0, m, k, {{gate, gamma0, out, n}, {up, gamma1, out, n}, {0, 0, 0, 0}}, splits, part, tickets}); \
    }

typedef Tile<2, 256, 4> Tile128x256;
typedef Tile<2, 160, 6> Tile128x160;
typedef Tile<1, 128, 8> Tile64x128;
WIDE_KERNELS(128x256)
WIDE_KERNELS(128x160)
WIDE_KERNELS(64x128)
