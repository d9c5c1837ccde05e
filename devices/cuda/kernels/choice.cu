// The largest elements of rows (ops/screen), one block a row.
#include "choice.cuh"

// y is x where it is among the keep[i] largest numbers of row i, -Inf elsewhere; all
// numbers if keep[i] is below 1.
extern "C" __global__ void __launch_bounds__(256) screen_keep(const float* x, const int* keep, float* y, int n) {
    x += (size_t)blockIdx.x * n;
    y += (size_t)blockIdx.x * n;
    int want = keep[blockIdx.x], numbers = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) numbers += x[i] == x[i];
    numbers = block_sum(numbers);
    unsigned cut = 0;
    if (want > 0 && want < numbers) {
        for (unsigned bit = 0x80000000u; bit; bit >>= 1) {
            int count = 0;
            for (int i = threadIdx.x; i < n; i += blockDim.x) count += x[i] == x[i] && ordered(x[i]) >= (cut | bit);
            if (block_sum(count) >= want) cut |= bit;
        }
    }
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        float v = x[i];
        y[i] = v == v && ordered(v) >= cut ? v : -INFINITE;
    }
}

// ids and values [rows][wide] are the keep[i] likeliest of row i, in order.
extern "C" __global__ void __launch_bounds__(256) screen_list(const float* x, const int* keep, int* ids, float* values, int n, int wide) {
    x += (size_t)blockIdx.x * n;
    ids += (size_t)blockIdx.x * wide;
    values += (size_t)blockIdx.x * wide;
    int want = keep[blockIdx.x];
    if (want < 1 || want > wide) want = wide;
    u64 before = ~0ull;
    for (int r = 0; r < wide; r++) {
        u64 best = 0;
        if (r < want && before > 0) {
            for (int i = threadIdx.x; i < n; i += blockDim.x) {
                u64 k = key(x[i], i);
                if (k < before) best = max(best, k);
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
