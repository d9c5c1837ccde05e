// Small pieces of data that come with the launch and go to different places.
#include "common.cuh"

#define PIECES 16
#define PIECE_DATA 3072

// Pieces is `count` of them: the bytes of data before end[i] go to to[i], behind those of
// the pieces before, unless that is null. Ends are multiples of 4, and so are addresses.
struct Pieces {
    unsigned* to[PIECES];
    int end[PIECES];
    int count, pad;
    unsigned data[PIECE_DATA / 4];
};

extern "C" __global__ void __launch_bounds__(256) scatter(Pieces p) {
    for (int i = 0, at = 0; i < p.count; at = p.end[i++]) {
        if (!p.to[i]) continue;
        for (int k = at / 4 + threadIdx.x; k < p.end[i] / 4; k += blockDim.x) p.to[i][k - at / 4] = p.data[k];
    }
}
