// All kernels of the device, one module.
#include "elementwise.cuh"
#include "norm.cuh"
#include "ternary.cuh"
