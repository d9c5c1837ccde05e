// Attention of few tokens over a paged cache: the kernels of flash_decode.cuh.
#include "flash_decode.cuh"
#include "pdl.cuh"

#define DECODE(HD)                                                                                                             \
    KERNEL(128, 1, attention_decode_##HD)                                                                                      \
    (const float* q, const u16* kc, const u16* vc, const int* seq, const int* pos, const int* table, float* o, float* part,    \
     float* ml, int* tickets, int heads, int group, int hd, int width, int size, int window, float scale, int blocks) {        \
        launch_dependents();                                                                                                   \
        grid_dependency_wait();                                                                                                \
        Cache c = {kc, vc, table, width, size, heads / group * hd, hd};                                                        \
        Plain plain;                                                                                                           \
        decode<HD>(plain, q, c, seq, pos, o, part, ml, tickets, heads, group, window, scale, blocks);                                 \
    }

DECODE(64)
DECODE(128)
