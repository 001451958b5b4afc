# The whole source of an extension. setup.py compiles this file once for each instruction set: cython_base, cython_avx2,
# cython_avx512; kernels/cython_ops.py picks one of them at import. common.pxi comes first, the pieces before the
# drivers that compose them.
include "common.pxi"
include "losses.pxi"
include "storages.pxi"
include "csr.pxi"
include "updates.pxi"
include "stages.pxi"
include "loss_driver.pxi"
include "slopes_driver.pxi"
include "losses_driver.pxi"
include "step_driver.pxi"
include "epoch_driver.pxi"

cdef extern from "cpu.h" nogil:
    int cpu_has_avx2()
    int cpu_has_avx512()


def supported():
    """The instruction sets that CPU and operating system support, widest first."""
    names = ["avx512"] if cpu_has_avx512() else []
    if cpu_has_avx2():
        names.append("avx2")
    return [*names, "base"]
