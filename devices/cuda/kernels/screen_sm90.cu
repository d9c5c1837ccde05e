// The kernels of screen.cu for sm_90, which start early.
#define SM90
#include "screen.cu"
