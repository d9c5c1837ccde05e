// Attention of training in bf16 on tensor cores, with dropout of probabilities.
#include "flash_train.cuh"

#define DROP , PROBS_DROPOUT
#define DROP_ARGS Masked(at, key0, key1, stream, threshold, keep)

FLASH_KERNELS(dropout_, 64, 3, DROP, DROP_ARGS)
FLASH_KERNELS(dropout_, 128, 2, DROP, DROP_ARGS)
