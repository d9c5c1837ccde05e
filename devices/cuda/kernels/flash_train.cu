// Attention of training in bf16 on tensor cores.
#include "flash_train.cuh"

FLASH_KERNELS(, 64, 3, , Whole())
FLASH_KERNELS(, 128, 2, , Whole())
