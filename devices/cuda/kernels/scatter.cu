// Small pieces of data that go to different places: some come with the launch, some
// from elsewhere.
#include "common.cuh"

#define PIECES 16
#define PIECE_DATA 3072

// Pieces is `count` of them, each with a part of the data up to end[i], behind those of
// the pieces before. They go to to[i], unless that is null; where from[i] is not null
// they are what it points at instead of data. Everything is read before anything is
// written. Ends are multiples of 4, and so are addresses.
struct Pieces {
    unsigned* to[PIECES];
    const unsigned* from[PIECES];
    int end[PIECES];
    int count, pad;
    unsigned data[PIECE_DATA / 4];
};

extern "C" __global__ void __launch_bounds__(256) scatter(Pieces p) {
    __shared__ unsigned held[PIECE_DATA / 4];
    for (int i = 0, at = 0; i < p.count; at = p.end[i++]) {
        if (!p.to[i] || !p.from[i]) continue;
        for (int k = at / 4 + threadIdx.x; k < p.end[i] / 4; k += blockDim.x) held[k] = p.from[i][k - at / 4];
    }
    __syncthreads();
    for (int i = 0, at = 0; i < p.count; at = p.end[i++]) {
        if (!p.to[i]) continue;
        for (int k = at / 4 + threadIdx.x; k < p.end[i] / 4; k += blockDim.x) p.to[i][k - at / 4] = p.from[i] ? held[k] : p.data[k];
    }
}
