// The kernels of norm_rows.cu for sm_90, which start early.
#define SM90
#include "norm_rows.cu"
