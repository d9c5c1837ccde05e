// The kernels of flash_decode.cu for sm_90, which start early.
#define SM90
#include "flash_decode.cu"
