# The kernels for every machine, and the question which wider instruction sets this one has.
include "cython_all.pxi"

cdef extern from "cpu.h" nogil:
    int cpu_has_avx2()
    int cpu_has_avx512()


def supported():
    """The instruction sets that CPU and operating system support, widest first."""
    names = ["avx512"] if cpu_has_avx512() else []
    if cpu_has_avx2():
        names.append("avx2")
    return [*names, "base"]
