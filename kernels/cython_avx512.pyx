# The kernels compiled for AVX-512 (F, DQ, BW, VL); the flags are in setup.py.
include "cython_all.pxi"
