"""Big arrays in laps, so that Ctrl-C is answered within 100 ms.

Python answers a signal between two of its instructions: not during a pass of NumPy over an array, a product of BLAS, or
a kernel. So each of these is given a bounded amount of work, which a slow core does in some 50 ms. Laps depend on sizes
alone, never on time or threads, and so do the bits of a result. The bounds of kernels are in fastlin/_plan.py.

What is not divided: a pass over one W, one row of X or one image, toy data, Numba's compilation, and what other
packages do. An optimizer's step that has begun ends whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

PASS_BYTES = 64 << 20  # read and written: 32 ms at the 2 GB/s of a slow memory
PASS_FLOPS = 2_000_000_000  # of a product of BLAS: 50 ms at 40 GF/s; with half as many, wide losses lose a tenth


def lap_rows(row_bytes: int, row_flops: int = 0, least: int = 1) -> int:
    """How many rows a pass goes over at most, of which each takes so much work; `least`, even if that is more flops."""
    return max(1, min(PASS_BYTES // max(1, row_bytes), max(least, PASS_FLOPS // max(1, row_flops))))


def laps(n: int, row_bytes: int, row_flops: int = 0) -> Iterator[slice]:
    """The rows 0 ... n - 1, some at a time, as evenly as can be."""
    count = -(-n // lap_rows(row_bytes, row_flops))
    for i in range(count):
        yield slice(n * i // count, n * (i + 1) // count)


class CtrlCLater:
    """A `with` block in which Ctrl-C waits: what has begun ends whole, and then the caller's handler has its turn."""

    def __enter__(self) -> None:
        self._caught: list[tuple[Any, ...]] = []
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():  # the only one that signals interrupt
            self._before = signal.getsignal(signal.SIGINT)
        if callable(self._before):
            signal.signal(signal.SIGINT, lambda *found: self._caught.append(found))

    def __exit__(self, *error: object) -> None:
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)
            for found in self._caught[:1]:
                self._before(*found)
