// The kernels of pick.cu for sm_90, which start early.
#define SM90
#include "pick.cu"
