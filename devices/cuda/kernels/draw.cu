// Drawing tokens from lists of the likeliest (ops/screen, Draw), one warp a row. Every
// operation is rounded by itself, in the order of the reference: bits are the same.
#include "pdl.cuh"
#include "philox.cuh"

#define LISTED 64  // most tokens of a list

// exp_rn is e to the power of x <= 0.
__device__ __forceinline__ double exp_rn(double x) {
    const double factorials[12] = {1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1};
    if (!(x >= -700)) return 0;
    double n = rint(__dmul_rn(x, 1.44269504088896338700e+00));
    double r = __dadd_rn(__dadd_rn(x, -__dmul_rn(n, 6.93147180369123816490e-01)), -__dmul_rn(n, 1.90821492927058770002e-10));
    double y = factorials[0];
#pragma unroll
    for (int i = 1; i < 12; i++) y = __dadd_rn(__dmul_rn(y, r), factorials[i]);
    return __dmul_rn(y, __longlong_as_double((long long)((int)n + 1023) << 52));
}

// first is the lowest place of the list, of which each lane asks about its own and
// the one 32 places on; LISTED if there is none.
__device__ __forceinline__ int first(bool low, bool high) {
    unsigned l = __ballot_sync(FULL_WARP, low), h = __ballot_sync(FULL_WARP, high);
    return l ? __ffs(l) - 1 : h ? __ffs(h) + 31 : LISTED;
}

// id[row] is the token drawn of ids and y [rows][wide], by how [rows][8].
KERNEL(32, 1, screen_draw)(const int* ids, const float* y, const int* how, int* id, int wide) {
    __shared__ double powers[LISTED], sums[LISTED];
    launch_dependents();
    int row = blockIdx.x, lane = threadIdx.x, low = lane, high = lane + 32;
    how += (size_t)row * 8;
    ids += (size_t)row * wide;
    y += (size_t)row * wide;
    grid_dependency_wait();
    int a = low < wide ? ids[low] : -1, b = high < wide ? ids[high] : -1;
    int n = min(first(a < 0, b < 0), wide);
    float temperature = __int_as_float(how[4]), top_p = __int_as_float(how[5]), min_p = __int_as_float(how[6]);
    if (n == 0 || temperature == 0) {
        if (lane == 0) id[row] = n == 0 ? -1 : a;
        return;
    }
    const float most = 3.402823466e+38f;
    double t = temperature, top = fminf(y[0], most);
    double p = low < n ? exp_rn(__dadd_rn((double)fminf(y[low], most), -top) / t) : 0;
    double q = high < n ? exp_rn(__dadd_rn((double)fminf(y[high], most), -top) / t) : 0;
    powers[low] = p;
    powers[high] = q;
    __syncwarp();
    if (lane == 0) {
        double sum = 0;
#pragma unroll 16
        for (int i = 0; i < LISTED; i++) {  // those after n are 0
            sum = __dadd_rn(sum, powers[i]);
            sums[i] = sum;
        }
    }
    __syncwarp();
    double s = sums[low], u = sums[high];
    int kept = max(1, min(n, first(p < (double)min_p, q < (double)min_p)));
    if (top_p > 0 && top_p < 1) {
        double least = __dmul_rn((double)top_p, sums[n - 1]);
        kept = min(kept, first(s >= least, u >= least) + 1);
    }
    uint4 w = philox(how[0], how[1], make_uint4(how[2], how[3], 0x64726177u, 0));
    double uniform = __dmul_rn((double)(((unsigned long long)w.x << 32 | w.y) >> 11), 1.1102230246251565e-16);
    double all = sums[kept - 1], at = __dmul_rn(uniform, all);
    int drawn = min(first(s > at || s == all, u > at || u == all), kept - 1);
    if (lane == drawn % 32) id[row] = drawn < 32 ? a : b;
}
