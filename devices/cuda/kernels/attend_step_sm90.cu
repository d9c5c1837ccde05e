// The kernels of attend_step.cu for sm_90, which start early.
#define SM90
#include "attend_step.cu"
