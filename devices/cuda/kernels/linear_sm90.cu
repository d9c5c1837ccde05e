// The kernels of linear.cu for sm_90, which start early.
#define SM90
#include "linear.cu"
