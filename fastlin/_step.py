"""One optimizer step over flat arrays: which kernel, which stretch, which thread.

Arrays are cut into fixed ranges, and what a step does to a number depends on that number alone: the same bits for any
number of threads. The sum of squares adds up the ranges in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastlin import _pool, ops
from fastlin._check import Array
from fastlin._run import FLOATS

RANGE = 1 << 18  # numbers a thread takes at once: 1 MB of float32, some 100 us; a hand-over takes 15
STRETCH = 2048  # numbers that are clipped, updated and shrunk while they are in L1


class Stages(NamedTuple):
    """What is done before and after the update; the defaults change nothing."""

    scale: float = 1.0  # of g
    limit: float = float("inf")  # of |scale g|
    shrink: float = 0.0  # of w, towards 0 and not past it
    factor: float = 1.0  # of w, then


NEUTRAL = Stages()


def update(
    rule: str,
    arrays: tuple[Array, ...],
    scalars: tuple[Any, ...],
    stages: Stages,
    backend: str,
    threads: int | None,
) -> None:
    """One step of `rule` over w, g and its state: flat contiguous arrays of one size and dtype."""
    if stages == NEUTRAL:
        kernel = ops.kernel(rule, backend, FLOATS[arrays[0].itemsize])

        def work(arrays: tuple[Array, ...], number: int) -> None:
            kernel(*arrays, *scalars)

    else:
        staged = ops.step_kernel(rule, backend)

        def work(arrays: tuple[Array, ...], number: int) -> None:
            w, g, *state = arrays
            room = np.empty(STRETCH if ops.BACKENDS[backend].compiled else max(w.size, 1), w.dtype)
            staged(w, g, tuple(state), scalars, room, *stages)

    if ops.BACKENDS[backend].compiled:
        _over_ranges(arrays, threads, work)
    else:
        with np.errstate(all="ignore"):  # naive stores Python's numbers in float32 arrays: inf is no mistake there
            work(arrays, 0)


def norm(gradients: Sequence[Array], backend: str, threads: int | None) -> float:
    """The root of the sum of squares of all arrays together, in float64."""
    total = 0.0
    for g in gradients:
        kernel = ops.kernel("sum_squares", backend, FLOATS[g.itemsize])
        sums = [0.0] * max(1, -(-g.size // RANGE))

        def work(arrays: tuple[Array, ...], number: int, kernel: Any = kernel, sums: list[float] = sums) -> None:
            sums[number] = kernel(*arrays)

        _over_ranges((g,), threads, work)
        total += sum(sums)
    return math.sqrt(total)


def warmup(backend: str) -> None:
    """Compile and load every step of a backend, both dtypes, with and without stages."""
    for dtype in ops.DTYPES:
        for rule, op in ops.OPS.items():
            if op.kind == "update":
                values = {"t": 1} | {name: spec.default for name, spec in op.hyper.items()}
                scalars = tuple(values[arg] for arg in op.args if arg in values)
                g = np.zeros(2, dtype)
                g.flags.writeable = False
                for stages in (NEUTRAL, Stages(scale=0.5)):
                    arrays = np.zeros(2, dtype), g, *(np.zeros(2, dtype) for _ in op.state)
                    update(rule, arrays, scalars, stages, backend, None)
        norm([g], backend, None)


def _over_ranges(
    arrays: tuple[Array, ...], threads: int | None, work: Callable[[tuple[Array, ...], int], None]
) -> None:
    """work(the arrays' numbers in a range, the range's number) for every range, by several threads."""
    size = arrays[0].size
    if size <= RANGE:
        work(arrays, 0)
        return

    def run_range(number: int) -> Iterator[None]:
        some = slice(number * RANGE, (number + 1) * RANGE)
        work(tuple(A[some] for A in arrays), number)
        yield

    _pool.pool.run(run_range, -(-size // RANGE), _pool.thread_limit(threads))
