// Random numbers as a function of a counter, and which attention probabilities they
// drop.
#pragma once
#include "common.cuh"

// philox is four random words for a key and a counter (Salmon et al. 2011).
__device__ __forceinline__ uint4 philox(unsigned k0, unsigned k1, uint4 c) {
    for (int i = 0; i < 10; i++) {
        unsigned h0 = __umulhi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x;
        unsigned h1 = __umulhi(0xCD9E8D57u, c.z), l1 = 0xCD9E8D57u * c.z;
        c = make_uint4(h1 ^ c.y ^ k0, l1, h0 ^ c.w ^ k1, l0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// ProbsDropout is the dropout of attention probabilities: operand at is [step, row],
// row the number of the call's first token in the whole batch.
struct ProbsDropout {
    unsigned k0, k1, stream, threshold, step, row;
    float keep;  // what probabilities that stay are multiplied with

    __device__ __forceinline__ ProbsDropout(const int* at, int key0, int key1, int stream_, int threshold_, float keep_)
        : k0(key0), k1(key1), stream(stream_), threshold(threshold_), step(at[0]), row(at[1]), keep(keep_) {}

    // eight says which of eight keys stay, the lowest bit the first; words of 16 bits
    // below the threshold drop.
    __device__ __forceinline__ unsigned eight(int query, int head, unsigned number) const {
        uint4 w = philox(k0, k1, make_uint4(row + query, number, stream + (unsigned)(head + 1) * 65536u, step));
        unsigned words[4] = {w.x, w.y, w.z, w.w}, bits = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) bits |= (unsigned)((words[j / 2] >> j % 2 * 16 & 0xffffu) >= threshold) << j;
        return bits;
    }
    // kept is eight for keys key to key+7.
    __device__ __forceinline__ unsigned kept(int query, int head, int key) const {
        unsigned k = row + key, bits = eight(query, head, k >> 3);
        if (k & 7) bits |= eight(query, head, (k >> 3) + 1) << 8;
        return bits >> (k & 7) & 0xffu;
    }
    __device__ __forceinline__ float factor(int query, int head, int key) const {
        unsigned k = row + key;
        return eight(query, head, k >> 3) >> (k & 7) & 1 ? keep : 0.0f;
    }
};

#define PROBS_DROPOUT const int *at, int key0, int key1, int stream, int threshold, float keep
#define PROBS_DROPOUT_ARGS {at, key0, key1, stream, threshold, keep}
