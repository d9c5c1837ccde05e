// The kernel of draw.cu for sm_90, which starts early.
#define SM90
#include "draw.cu"
