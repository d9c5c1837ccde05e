// BitLinears of one token, alone or fused with the norm and quantizer before and the
// residual or gate behind them, at the speed of memory.
//
// Blocks share the rows evenly. A block's rows lie one after the other (ternary.cuh), so
// one warp asks for them in pieces, by bulk copies, before the wait for the kernel that
// makes the input; PIECES_AHEAD at a time, or they would hold up what the kernel before
// reads. Of the other threads each has one unit of 64 columns, whose codes it keeps in
// registers, and of each piece one row: four neighbours add up what four rows gave them.
//
// Two blocks must fit on a multiprocessor, beside one of attention, and no more: so the
// next kernel's weights come while this one computes, and no multiprocessor gets two
// blocks of one kernel, which the others would wait for. gemv.go asks for that much
// shared memory, and registers are limited to what leaves room.
#ifdef __CUDACC__
#define SM90  // names end in _sm90; the emulator looks for plain ones
#endif
#include "mbarrier.cuh"
#include "pdl.cuh"
#include "rownorm.cuh"
#include "ternary.cuh"

#define PIECES 40        // of a block, at most
#define PIECES_AHEAD 4   // under way at a time

// Rows is up to three matrices [n,k], their scales and results.
struct Rows {
    const u8 *w0, *w1, *w2;
    const float *c0, *c1, *c2;
    float *y0, *y1, *y2;
    int n0, n1, n2;
};

template <typename T>
__device__ __forceinline__ T pick(int i, T a, T b, T c) {
    return i == 0 ? a : i == 1 ? b : c;
}

// Cut says how a product is shared: blocks have `rows` rows, the first `more` of them one
// more; a piece has `step`, one for each thread's unit, and the largest share `steps`
// pieces. 2^32/padded, rounded up, is what threads are divided by.
struct Cut {
    int rows, more, step, steps;
    unsigned inverse;
};

// Share is the part of a product that a block computes: rows first to first+rows-1 of all
// matrices together, or of each of two where there is a gate.
struct Share {
    int first, rows, pitch;  // bytes of a row
    int units, padded;       // in a row; whole quads of them
    int step, steps, pieces;
};

template <bool GATE>
__device__ __forceinline__ Share share(const Cut& cut, int k) {
    Share s;
    const int b = blockIdx.x;
    s.first = b * cut.rows + min(b, cut.more);
    s.rows = cut.rows + (b < cut.more);
    s.units = k / 64, s.padded = (s.units + 3) & ~3, s.pitch = s.units * 16;
    s.step = cut.step, s.steps = cut.steps - ((cut.steps - 1) * cut.step >= s.rows);
    s.pieces = GATE ? 2 * s.steps : s.steps;
    return s;
}

// parts calls f(matrix, row of it, rows, row of the piece) for what piece i has of each.
template <bool GATE, typename F>
__device__ __forceinline__ void parts(const Share& s, const Rows& m, int i, F f) {
    int from = (GATE && i >= s.steps ? i - s.steps : i) * s.step, to = min(from + s.step, s.rows);
    from += s.first, to += s.first;
    if (GATE) f(i < s.steps ? 0 : 1, from, to - from, 0);
#pragma unroll
    for (int j = 0; j < (GATE ? 0 : 3); j++) {
        int begin = pick(j, 0, m.n0, m.n0 + m.n1), end = begin + pick(j, m.n0, m.n1, m.n2);
        int low = max(from, begin), high = min(to, end);
        if (low < high) f(j, low - begin, high - low, low - from);
    }
}

// What the threads of a block tell each other.
struct Shared {
    Mbarrier came[PIECES];
    Sums sums;
    int codes[32];   // sums of a warp's codes
    float scale[3];  // of the matrices' sums
    int excess;      // in a row's sum
};

// copy_weights is the work of the warp that asks for weights; it also makes the scales.
template <int WARPS_, bool NORM, bool GATE>
__device__ __forceinline__ void copy_weights(Shared& z, u8* to, const Share& s, const Rows& m, const float* sc, int k, const Mean& mean, float qmax) {
    const int lane = threadIdx.x & 31;
    for (int i = lane; i < s.pieces; i += 32) {
        int copies = 0;
        parts<GATE>(s, m, i, [&](int, int, int, int) { copies++; });
        mbarrier_init(&z.came[i], copies);
    }
    mbarrier_inits();
    __syncwarp();
    auto ask = [&](int i) {
        parts<GATE>(s, m, i, [&](int j, int row, int rows, int at) {
            mbarrier_bulk(&z.came[i], to + (i * s.step + at) * s.pitch, pick(j, m.w0, m.w1, m.w2) + (size_t)row * s.pitch, rows * s.pitch);
        });
    };
    if (lane == 0) {
        for (int i = 0; i < min(s.pieces, PIECES_AHEAD); i++) ask(i);
    }
    const float gamma = lane < (GATE ? 2 : 3) && pick(lane, m.n0, m.n1, m.n2) > 0 ? *pick(lane, m.c0, m.c1, m.c2) : 0.0f;
    __syncthreads();
    if (lane == 0) {
        for (int i = PIECES_AHEAD; i < s.pieces; i++) {
            mbarrier_wait(&z.came[i - PIECES_AHEAD], 0);
            ask(i);
        }
    }
    __syncwarp();
    float by;
    if (NORM) {
        __syncthreads();
        float most = most_of(lane < WARPS_ ? z.sums.most[lane] : 0.0f);
        by = act_scale(__fmul_rn(most, mean.inverse_root(sum_slots(&z.sums, slots(k)))), qmax);
    } else {
        grid_dependency_wait();
        by = *sc;
    }
    if (lane < 3) z.scale[lane] = __fdiv_rn(gamma, by);
    __syncthreads();
    int all = __reduce_add_sync(FULL_WARP, lane < WARPS_ ? z.codes[lane] : 0);
    if (lane == 0) z.excess = 2 * all;
    __syncthreads();
}

// place is where the codes of elements e to e+15 are: one word of a unit after the other,
// so that neighbours read neighbours.
__device__ __forceinline__ int place(const Share& s, int e) { return (e >> 4 & 3) * (s.padded * 16 + 32) + (e >> 6) * 16 + (e & 15); }

// gemv: THREADS multiply, and 32 more copy; a thread has HELD times four elements of the
// input, x f32[k] with the norm's weights g, or codes q i8[k] with their scale sc.
template <int THREADS, int HELD, bool NORM, bool GATE>
__device__ __forceinline__ void gemv(const float* x, const float* g, const i8* q, const float* sc, const Rows& m, const float* res, int k,
                                     const Cut& cut, const Mean& mean, float qmax) {
    __shared__ Shared z;
    DYNAMIC_SHARED(u8, shared);
    launch_dependents();
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const Share s = share<GATE>(cut, k);
    if (warp == THREADS / 32) {
        copy_weights<THREADS / 32, NORM, GATE>(z, shared, s, m, sc, k, mean, qmax);
        return;
    }
    u8* act = shared + s.pieces * s.step * s.pitch;
    int* part = (int*)(act + 4 * (s.padded * 16 + 32));  // [row][quads | 1]
    const int quads = s.padded / 4, below = (int)__umulhi((unsigned)tid, cut.inverse), unit = tid - below * s.padded;
    const int row = min(below, s.step - 1), mine = tid >> 2;
    float4 w[HELD];
    if (NORM) {
#pragma unroll
        for (int i = 0; i < HELD; i++) w[i] = four(g, 4 * (tid + i * THREADS), k);
    }
    const unsigned turn = sign_bits();
    __syncthreads();  // the barriers' initialisation
    grid_dependency_wait();
    const float add = res && mine < s.rows ? res[s.first + mine] : 0.0f;
    int sum = 0;
    if (NORM) {
        float4 v[HELD];
        float square[HELD], most = 0.0f;
#pragma unroll
        for (int i = 0; i < HELD; i++) v[i] = four(x, 4 * (tid + i * THREADS), k);
#pragma unroll
        for (int i = 0; i < HELD; i++) square[i] = squares(v[i], 0.0f), most = largest(products(v[i], w[i]), most);
        most = most_of(most);
        keep_sums(&z.sums, square, [&](int i) { return i * (THREADS / 32) + warp; });
        if (lane == 0) z.sums.most[warp] = most;
        __syncthreads();
        most = most_of(lane < THREADS / 32 ? z.sums.most[lane] : 0.0f);
        const float r = mean.inverse_root(sum_slots(&z.sums, slots(k))), by = act_scale(__fmul_rn(most, r), qmax);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            int e = 4 * (tid + i * THREADS), codes = codes4(normed4(v[i], r, w[i]), by);
            if (e < s.padded * 64) *(int*)(act + place(s, e)) = codes;
            sum = __dp4a(codes, 0x01010101, sum);
        }
    } else {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            int e = 16 * (tid + i * THREADS);
            if (e >= s.padded * 64) break;
            uint4 codes = e < k ? *(const uint4*)(q + e) : make_uint4(0, 0, 0, 0);
            *(uint4*)(act + place(s, e)) = codes;
            sum = __dp4a((int)codes.x, 0x01010101, __dp4a((int)codes.y, 0x01010101, __dp4a((int)codes.z, 0x01010101, __dp4a((int)codes.w, 0x01010101, sum))));
        }
    }
    sum = __reduce_add_sync(FULL_WARP, sum);
    if (lane == 0) z.codes[warp] = sum;
    __syncthreads();
    uint4 c[4];
#pragma unroll
    for (int i = 0; i < 4; i++) c[i] = *(const uint4*)(act + place(s, unit * 64 + i * 16));
    const u8* at = shared + row * s.pitch + min(unit, s.units - 1) * 16;
    const bool in = tid < s.step * s.padded;
    for (int i = 0; i < s.pieces; i += 4) {
        int a[4] = {};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (i + j >= s.pieces) break;
            mbarrier_wait(&z.came[i + j], 0);
            a[j] = dot_fields(*(const uint4*)(at + (i + j) * s.step * s.pitch), c, turn);
        }
        // Lane j of four gets the sum of the four for piece i+j.
        const bool odd = tid & 1, high = tid & 2;
        int p = (odd ? a[1] : a[0]) + __shfl_xor_sync(FULL_WARP, odd ? a[0] : a[1], 1);
        int r = (odd ? a[3] : a[2]) + __shfl_xor_sync(FULL_WARP, odd ? a[2] : a[3], 1);
        p = (high ? r : p) + __shfl_xor_sync(FULL_WARP, high ? p : r, 2);
        if (in && i + (tid & 3) < s.pieces) part[((i + (tid & 3)) * s.step + row) * (quads | 1) + (unit >> 2)] = p;
    }
    __syncthreads();
    // Four threads add up a row's quads, as few as they are at once.
    auto total = [&](int row) {
        const int* p = part + row * (quads | 1);
        int t = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int quad = 4 * i + (tid & 3);
            if (quad < quads) t += p[quad];
        }
        t += __shfl_xor_sync(FULL_WARP, t, 1);
        t += __shfl_xor_sync(FULL_WARP, t, 2);
        return (float)((t >> 6) - z.excess);
    };
    for (int r = mine, first = warp * 8; first < s.rows; r += THREADS / 4, first += THREADS / 4) {
        const int at = min(r, s.rows - 1), global = s.first + at;
        float a = total(at);
        const bool write = r < s.rows && (tid & 3) == 0;
        if (GATE) {
            a = fmaxf(__fmul_rn(a, z.scale[0]), 0.0f);
            const float b = __fmul_rn(total(s.steps * s.step + at), z.scale[1]);
            if (write) m.y0[global] = __fmul_rn(__fmul_rn(a, a), b);
        } else {
            const int which = global < m.n0 ? 0 : global < m.n0 + m.n1 ? 1 : 2;
            float* y = pick(which, m.y0, m.y1, m.y2) + (global - pick(which, 0, m.n0, m.n0 + m.n1));
            a = __fmul_rn(a, z.scale[which]);
            if (write) *y = res ? __fadd_rn(a, r == mine ? add : res[global]) : a;
        }
    }
}

// y_i = bitlinear(norm(x, g)) for up to three weights (n1, n2 may be 0), and
// y0 + res if res is not null
#define GEMV_NORM(threads, held, registers)                                                                                           \
    KERNEL_OF(registers, gemv_norm_##threads##_##held)                                                                  \
    (const float* x, const float* g, const u8* w0, const float* c0, const u8* w1, const float* c1, const u8* w2, const float* c2, \
     const float* res, float* y0, float* y1, float* y2, int n0, int n1, int n2, int k, int rows, int more, int step, int steps, unsigned inverse, \
     float high, float low, float eps, float qmax) {      \
        const Rows m = {w0, w1, w2, c0, c1, c2, y0, y1, y2, n0, n1, n2};                                                   \
        gemv<threads, held, true, false>(x, g, 0, 0, m, res, k, {rows, more, step, steps, inverse}, Mean(high, low, eps), qmax);                                                \
    }
GEMV_NORM(320, 2, 48)
GEMV_NORM(448, 4, 56)
GEMV_NORM(512, 4, 56)

// The same for codes that exist already; a thread takes 16 at a time.
#define GEMV_CODES(threads)                                                                                                \
    KERNEL_OF(48, gemv_codes_##threads)                                                                          \
    (const i8* q, const float* s, const u8* w0, const float* c0, const u8* w1, const float* c1, const u8* w2, const float* c2,    \
     const float* res, float* y0, float* y1, float* y2, int n0, int n1, int n2, int k, int rows, int more, int step, int steps, unsigned inverse) { \
        const Rows m = {w0, w1, w2, c0, c1, c2, y0, y1, y2, n0, n1, n2};                                                   \
        gemv<threads, 2, false, false>(0, 0, q, s, m, res, k, {rows, more, step, steps, inverse}, Mean(0, 0, 0), 0);                                                       \
    }
GEMV_CODES(320)
GEMV_CODES(448)
GEMV_CODES(480)

// y = relu2(gate) * up of bitlinears of norm(x, g)
#define GEMV_GATE(threads, held, registers)                                                                                           \
    KERNEL_OF(registers, gemv_gate_##threads##_##held)                                                                  \
    (const float* x, const float* g, const u8* w0, const float* c0, const u8* w1, const float* c1, float* y, int n, int k, int rows, \
     int more, int step, int steps, unsigned inverse, float high, float low, float eps, float qmax) {                                                                                                         \
        const Rows m = {w0, w1, 0, c0, c1, 0, y, 0, 0, n, n, 0};                                                           \
        gemv<threads, held, true, true>(x, g, 0, 0, m, 0, k, {rows, more, step, steps, inverse}, Mean(high, low, eps), qmax);                                                   \
    }
GEMV_GATE(448, 2, 40)
GEMV_GATE(512, 4, 56)
