# The kernels compiled for AVX2 and FMA; the flags are in setup.py.
include "cython_ops.pxi"
include "cython_driver.pxi"
include "cython_updates.pxi"
include "cython_epoch.pxi"
include "cython_wide.pxi"
include "cython_search.pxi"
