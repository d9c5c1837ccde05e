// The kernels of head.cu for sm_90, which start early.
#define SM90
#include "head.cu"
