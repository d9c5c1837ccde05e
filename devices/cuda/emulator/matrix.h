// What the C++ bodies of kernels/common.cuh and kernels/mma.cuh call: 16-bit
// floats, asynchronous copies and tensor cores.
#pragma once

static inline void* emulated_shared() { return emulated_self->shared; }

static inline float emulated_f16_to_f32(unsigned short h) {
    unsigned sign = (unsigned)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
    if (e == 31) return __uint_as_float(sign | 0x7f800000 | m << 13);
    if (e == 0) return __uint_as_float(sign | __float_as_uint((float)m * 5.9604644775390625e-8f));
    return __uint_as_float(sign | (e + 112) << 23 | m << 13);
}

static inline unsigned short emulated_f32_to_f16(float f) {
    unsigned u = __float_as_uint(f), sign = u >> 16 & 0x8000;
    float a = fabsf(f);
    if (!(a == a)) return 0x7fff;
    if (a >= 65520.0f) return (unsigned short)(sign | 0x7c00);
    if (a < 6.103515625e-5f) return (unsigned short)(sign | (unsigned)rintf(a * 16777216.0f));
    u = (u & 0x7fffffff) - (112u << 23);
    return (unsigned short)(sign | (u + 0xfff + (u >> 13 & 1)) >> 13);
}

// An asynchronous copy happens as late as the program allows: at its wait.
static inline void emulated_copy(void* to, const void* from, int size, int n) {
    if (((uintptr_t)to | (uintptr_t)from) & (size - 1)) emulator::fail(716, "cp.async: an address is not aligned");
    emulator::copy_later({to, from, size, n});
}
static inline void emulated_commit() { emulator::commit_copies(); }
static inline void emulated_wait(int groups) { emulator::wait_copies(groups); }

struct emulated_bf16 {
    unsigned short bits;
    float value() const { return __uint_as_float((unsigned)bits << 16); }
};
struct emulated_f16 {
    unsigned short bits;
    float value() const { return emulated_f16_to_f32(bits); }
};
static inline int emulated_product(signed char a, signed char b) { return a * b; }
static inline float emulated_product(emulated_bf16 a, emulated_bf16 b) { return a.value() * b.value(); }
static inline float emulated_product(emulated_f16 a, emulated_f16 b) { return a.value() * b.value(); }

// emulated_mma is the m16n8 product whose fragments kernels/mma.cuh describes.
template <typename T, typename Sum>
static inline void emulated_mma(Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    constexpr int per_word = 4 / sizeof(T);
    struct Fragments {
        unsigned a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    static_assert(sizeof mine <= emulator::slot_bytes, "slots are too small");
    const unsigned char* all = emulator::exchange(emulator::MMA, &mine, sizeof mine);
    int g = emulated_lane() / 4, t = emulated_lane() % 4;
    for (int i = 0; i < 4; i++) {
        int column = 2 * t + i % 2;
        Sum sum = d[i];
        for (int half = 0; half < 2; half++) {
            for (int w = 0; w < 4; w++) {
                T x[per_word], y[per_word];
                const unsigned char* row = all + (g * 4 + w) * emulator::slot_bytes;
                const unsigned char* col = all + (column * 4 + w) * emulator::slot_bytes;
                memcpy(x, row + 4 * (2 * half + i / 2), 4);
                memcpy(y, col + 16 + 4 * half, 4);
                for (int e = 0; e < per_word; e++) sum += emulated_product(x[e], y[e]);
            }
        }
        d[i] = sum;
    }
}

template <int N, bool Trans>
static inline void emulated_ldmatrix(unsigned (&r)[N], const void* address) {
    int l = emulated_lane();
    if (l < 8 * N && (uintptr_t)address & 15) emulator::fail(716, "ldmatrix: an address is not aligned to 16 bytes");
    const unsigned char* all = emulator::exchange(emulator::LDMATRIX, &address, sizeof address);
    for (int i = 0; i < N; i++) {
        unsigned short v[2];
        for (int e = 0; e < 2; e++) {
            int row = Trans ? 2 * (l % 4) + e : l / 4, column = Trans ? l / 4 : 2 * (l % 4) + e;
            const unsigned short* p;
            memcpy(&p, all + (8 * i + row) * emulator::slot_bytes, sizeof p);
            v[e] = p[column];
        }
        r[i] = (unsigned)v[0] | (unsigned)v[1] << 16;
    }
}

// Barriers in shared memory, and products of warpgroups; see
// kernels/mbarrier.cuh and wgmma.cuh.
static inline void emulated_mbarrier_init(unsigned long long* b, int arrivals) { emulator::mbarrier_init(b, arrivals); }
static inline void emulated_mbarrier_arrive(unsigned long long* b) { emulator::mbarrier_arrive(b); }
static inline void emulated_mbarrier_wait(unsigned long long* b, unsigned parity) { emulator::mbarrier_wait(b, parity); }
static inline void emulated_bulk(unsigned long long* b, void* to, const void* from, int n) {
    if (((uintptr_t)to | (uintptr_t)from | n) & 15) emulator::fail(716, "cp.async.bulk: an address or the size is not a multiple of 16");
    emulator::copy_at_end(b, {to, from, n, n});
}

// emulated_panel is byte `at` of a row of a swizzled panel in shared memory.
static inline signed char emulated_panel(unsigned long long panel, int row, int at) {
    uintptr_t p = (panel << 4) + row / 8 * 1024 + row % 8 * 128 + at;
    return *(const signed char*)(p ^ (p >> 7 & 7) << 4);
}

// A product happens as late as the program allows: at its wait.
template <int Half>
static inline void emulated_wgmma(int (&d)[Half], unsigned long long a, unsigned long long b) {
    emulator::multiply_later({[](int* d, unsigned long long a, unsigned long long b) {
        int t = emulated_self->thread.x % 128, row0 = t / 32 * 16 + t % 32 / 4;
        for (int i = 0; i < Half; i++) {
            int row = row0 + (i >> 1 & 1) * 8, column = i / 4 * 8 + t % 4 * 2 + (i & 1);
            for (int k = 0; k < 32; k++) d[i] += emulated_panel(a, row, k) * emulated_panel(b, column, k);
        }
    }, d, a, b});
}
static inline void emulated_wgmma_commit() { emulator::commit_products(); }
static inline void emulated_wgmma_wait(int groups) {
    emulator::wait_products(groups);
    emulator::exchange(emulator::SYNC, nullptr, 0);  // the instruction is one of whole warps
}
