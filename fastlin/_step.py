"""One optimizer step over flat arrays: which kernel, which range of the arrays, how many threads.

A number's update depends only on that number, its gradient and its state. The sum of squares adds up ranges that depend
on the size alone, in order. So the bits are the same for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from fastlin import _plan, ops
from fastlin._check import Array
from fastlin.kernels.records import NO_STAGES, Stages


def update(
    rule: str,
    w: Array,
    g: Array,
    state: tuple[Array, ...],
    scalars: tuple[Any, ...],
    stages: Stages,
    backend: str,
    threads: int,
) -> None:
    """One step of `rule` over w, g and its state: flat contiguous arrays of one size and dtype."""
    kernel, _, ranges, team, _ = route(rule, backend, w.size, w.itemsize, len(state), threads)
    if ranges:
        kernel(w, g, state, scalars, stages, ranges, team)
        return
    for start in range(0, w.size, _plan.STEP_CHUNK):
        some = slice(start, start + _plan.STEP_CHUNK)
        update(rule, w[some], g[some], tuple([A[some] for A in state]), scalars, stages, backend, threads)


class Route(NamedTuple):
    """How a step over arrays of some size is taken."""

    kernel: Callable[..., Any]
    prepare: Callable[..., Any] | None  # ops.step_preparation, for arrays that need one call
    ranges: int  # 0 if the arrays need several calls
    threads: int
    whole: bool  # it is one call of a function of C, in which Python answers no Ctrl-C


@lru_cache(maxsize=1024)
def route(rule: str, backend: str, n: int, itemsize: int, states: int, threads: int) -> Route:
    """The kernel, compiled if it was not yet: what can fail does so before an optimizer counts the step."""
    kernel = ops.step_kernel(rule, backend)
    _compile(rule, backend, itemsize)
    if not ops.BACKENDS[backend].compiled:
        quiet = np.errstate(all="ignore")  # naive stores Python's numbers in float32 arrays, which may become inf
        return Route(quiet(kernel), None, 1, 1, whole=False)
    ranges, team = _plan.step_plan(n, itemsize * (2 + states), threads)
    prepare = ops.step_preparation(rule, backend) if ranges else None
    python = isinstance(kernel, FunctionType) or isinstance(getattr(kernel, "__wrapped__", None), FunctionType)
    return Route(kernel, prepare, ranges, team, whole=bool(ranges) and not (python and prepare is None))


@lru_cache(maxsize=1024)
def _compile(rule: str, backend: str, itemsize: int) -> None:
    """Takes a step of no numbers."""
    op, dtype = ops.OPS[rule], f"float{8 * itemsize}"
    values = {"t": 1} | {name: spec.default for name, spec in op.hyper.items()}
    scalars = tuple(values[arg] for arg in op.args if arg in values)
    w, g, *state = np.zeros((2 + len(op.state), 0), dtype)
    ops.step_kernel(rule, backend)(w, g, tuple(state), scalars, NO_STAGES, 1, 1)
    ops.kernel("prox_stage", backend, dtype)(w, 0.0, 1.0)


def norm(gradients: Sequence[Array], backend: str, threads: int) -> float:
    """The root of the sum of squares of all arrays together, in float64."""
    kernel = ops.squares_kernel(backend)
    total = 0.0
    for g in gradients:
        for start in range(0, g.size, _plan.STEP_CHUNK):
            some = g[start : start + _plan.STEP_CHUNK]
            sums = np.empty(min(_plan.MOST_RANGES, -(-some.size // _plan.SUM_NUMBERS)))
            kernel(some, sums, _plan.step_plan(some.size, some.itemsize, threads)[1])
            total += sum(sums.tolist())
    return math.sqrt(total)


def warmup(backend: str) -> None:
    """Compile and load every step of a backend, both dtypes."""
    for dtype in ops.DTYPES:
        for rule, op in ops.OPS.items():
            if op.kind == "update":
                _compile(rule, backend, np.dtype(dtype).itemsize)
        norm([np.zeros(2, dtype)], backend, 1)
