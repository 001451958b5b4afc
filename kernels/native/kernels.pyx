# All that an extension holds. setup.py compiles this file once for each instruction set: cython_base, cython_avx2,
# cython_avx512; kernels/cython_ops.py picks one of them at import.
include "losses.pxi"  # the loops of the losses
include "loss_driver.pxi"  # what Python sees of them, and a loss with its gradient
include "columns_driver.pxi"  # the epilogue of many columns of scores
include "search_driver.pxi"  # losses of many W
include "updates.pxi"  # the loops of the optimizers
include "step_driver.pxi"  # what Python sees of them, and a step
include "epoch_driver.pxi"  # whole epochs

cdef extern from "cpu.h" nogil:
    int cpu_has_avx2()
    int cpu_has_avx512()


def supported():
    """The instruction sets that CPU and operating system support, widest first."""
    names = ["avx512"] if cpu_has_avx512() else []
    if cpu_has_avx2():
        names.append("avx2")
    return [*names, "base"]
