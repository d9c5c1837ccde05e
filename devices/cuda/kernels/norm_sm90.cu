// The kernels of norm.cu for sm_90, which start early.
#define SM90
#include "norm.cu"
