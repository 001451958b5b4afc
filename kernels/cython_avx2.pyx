# The kernels compiled for AVX2 and FMA; the flags are in setup.py.
include "cython_all.pxi"
