// Attention of training: tokens of a step attend to each other, those of one
// sequence to the same and earlier positions, in whatever order they lie. Tokens
// are taken in blocks of 64; a block of queries meets the blocks of keys that
// hold anything it may see.
#pragma once
#include "common.cuh"

#define TOKENS 64

// Span is what attention_spans writes about a block.
struct Span {
    int seq0, seq1, pos0, pos1;  // smallest and largest
};

// Meets is which blocks a block meets: of keys as queries, of queries as keys.
struct Meets {
    int key0, key1, query0, query1;
};

__device__ __forceinline__ bool meets(Span q, Span k, int window) {
    return q.seq0 <= k.seq1 && k.seq0 <= q.seq1 && k.pos0 <= q.pos1 && (window <= 0 || q.pos0 - k.pos1 < window);
}

// Token is one token's place; those beyond the step's end see nothing.
struct Token {
    int seq, pos;
    bool real;
    __device__ __forceinline__ Token() {}
    __device__ __forceinline__ Token(const int* s, const int* p, int i, int tokens) : real(i < tokens) {
        seq = real ? s[i] : 0;
        pos = real ? p[i] : 0;
    }
    __device__ __forceinline__ bool sees(const Token& k, int window) const {
        return real && k.real && seq == k.seq && k.pos <= pos && (window <= 0 || pos - k.pos < window);
    }
};
