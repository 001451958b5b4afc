"""The only scheduling: how rows are cut, who works on which, and in what order sums are taken.

Rows are cut into parts by their number and width alone, never by the number of threads. Each part adds
into a gradient of its own, and these are summed in order: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlin import _pool, ops
from fastlin._check import Array, Problem, walkable

# Every constant is a size that a cache, a pool or a person waiting at the keyboard sets.
PART_FLOPS = 2_000_000  # a part is worth handing to a thread (about 10 us): 20 us at 100 GF/s
PART_ROWS = 64  # below this, zeroing and summing a part's own dW shows
MOST_PARTS = 16
PARTS_BYTES = 16 << 20  # of all parts' gradients together
BLOCK_ROWS = 32  # whole vectors of rows in the epilogue; more gain nothing (docs/kernels.md)
BLOCK_BYTES = 512 << 10  # of the X rows of a block: they are read twice, the second time from L2
SCORES_BYTES = 1 << 20  # of the scores of a block
CALL_FLOPS = 64_000_000  # one kernel call: Python answers Ctrl-C between calls, some 10 ms apart
COPY_BYTES = 1 << 20  # of rows that must be converted first


@dataclass(frozen=True)
class Plan:
    """How n rows are cut: into parts, these into kernel calls of `span` rows, and these into blocks."""

    n: int
    parts: int
    span: int
    block: int

    def part(self, number: int) -> tuple[int, int]:
        return self.n * number // self.parts, self.n * (number + 1) // self.parts


def plan(n: int, d: int, c: int, itemsize: int, compiled: bool) -> Plan:
    """The cut for compiled kernels; the others get all rows at once, as a NumPy user would write it."""
    if not compiled:
        return Plan(n, parts=1, span=max(n, 1), block=max(n, 1))
    row_flops = 4 * max(d, 1) * c
    fitting = PARTS_BYTES // (c * max(d, 1) * itemsize)
    parts = max(1, min(MOST_PARTS, n // PART_ROWS, n * row_flops // PART_FLOPS, fitting))
    block = min(BLOCK_ROWS, BLOCK_BYTES // (max(d, 1) * itemsize), SCORES_BYTES // (c * itemsize))
    block = block // 16 * 16 or max(1, block)
    span = max(1, CALL_FLOPS // row_flops // block) * block
    return Plan(n, parts, span, block)


def loss_grad(
    loss: str, hyper: tuple[float, ...], problem: Problem, backend: str, threads: int | None
) -> tuple[float, Array, Array]:
    """The sum over rows of weighted losses, and its gradient as dW (c, d) and db (c,)."""
    kernel = ops.loss_kernel(loss, "dense", backend)
    X, W, b, y, sample_weight = problem.X, problem.W, problem.b, problem.y, problem.sample_weight
    c, d = W.shape
    cut = plan(len(X), d, c, W.itemsize, ops.BACKENDS[backend].compiled)
    losses = [0.0] * cut.parts
    dW = np.zeros((cut.parts, c, d), W.dtype)
    db = np.zeros((cut.parts, c), W.dtype)

    def run_part(number: int) -> Iterator[None]:
        work = np.empty((c + 3, cut.block), W.dtype)
        start, end = cut.part(number)
        while start < end:
            rows = _rows(X, W, start, min(start + cut.span, end))
            stop = start + len(rows)
            losses[number] += kernel(
                *(rows, W, b, y[start:stop], sample_weight[start:stop], hyper),
                *(work[:c], work[c:], dW[number], db[number]),
            )
            start = stop
            yield

    _pool.pool.run(run_part, cut.parts, _threads(cut, threads))
    for number in range(1, cut.parts):
        dW[0] += dW[number]
        db[0] += db[number]
    return sum(losses), dW[0], db[0]


def scores(X: Array, W: Array, b: Array, backend: str, threads: int | None) -> Array:
    """The scores (c, n) of every row."""
    kernel = ops.kernel("dense_scores", backend, W.dtype.name)
    c, d = W.shape
    cut = plan(len(X), d, c, W.itemsize, ops.BACKENDS[backend].compiled)
    S = np.empty((c, len(X)), W.dtype)

    def run_part(number: int) -> Iterator[None]:
        start, end = cut.part(number)
        while start < end:
            rows = _rows(X, W, start, min(start + cut.span, end))
            kernel(rows, W, b, S[:, start : start + len(rows)])
            start += len(rows)
            yield

    _pool.pool.run(run_part, cut.parts, _threads(cut, threads))
    return S


def _threads(cut: Plan, threads: int | None) -> int:
    limit = _pool.thread_limit(threads)
    return min(limit, cut.parts)


def _rows(X: Array, W: Array, start: int, stop: int) -> Array:
    """Rows of X from `start`, at most to `stop`: a view where kernels can read it, else a copy of bounded size."""
    if walkable(X, W.dtype):
        rows: Array = X[start:stop]
    else:
        few = max(1, COPY_BYTES // (max(X.shape[1], 1) * W.itemsize))
        rows = np.ascontiguousarray(X[start : min(stop, start + few)], W.dtype)
    rows.flags.writeable = False  # one type for Numba, whether the caller's X is read-only or not
    return rows


def update(rule: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], backend: str) -> None:
    """One fused step over flat arrays of one size."""
    kernel = ops.kernel(rule, backend, arrays[0].dtype.name)
    kernel(*arrays, *scalars)
