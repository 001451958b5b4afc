"""Big arrays in laps, so that Ctrl-C is answered within 100 ms.

Python answers a signal between two of its instructions: not during a pass of NumPy over an array, a product of BLAS, or
a kernel. So each of these is given a bounded amount of work, which a slow core does in some 50 ms. Laps depend on sizes
alone, never on time or threads, and so do the bits of a result. The bounds of kernels are in fastlin/_plan.py.

What is not divided: a pass over one W, one row of X or one image, Numba's compilation, and what other packages do.
"""

from __future__ import annotations

from collections.abc import Iterator

PASS_BYTES = 64 << 20  # read and written: 32 ms at the 2 GB/s of a slow memory
PASS_FLOPS = 1_000_000_000  # of a product of BLAS: 50 ms at 20 GF/s


def lap_rows(row_bytes: int, row_flops: int = 0, least: int = 1) -> int:
    """How many rows a pass goes over at most, of which each takes so much work; `least`, if even that is more."""
    return max(least, min(PASS_BYTES // max(1, row_bytes), PASS_FLOPS // max(1, row_flops)))


def laps(n: int, row_bytes: int, row_flops: int = 0) -> Iterator[slice]:
    """The rows 0 ... n - 1, some at a time, as evenly as can be."""
    count = -(-n // lap_rows(row_bytes, row_flops))
    for i in range(count):
        yield slice(n * i // count, n * (i + 1) // count)
