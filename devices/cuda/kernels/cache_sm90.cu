// The kernels of cache.cu for sm_90, which start early.
#define SM90
#include "cache.cu"
