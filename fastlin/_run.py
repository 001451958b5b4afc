"""The only scheduling: how rows are cut, who works on which, and in what order sums are taken.

Rows are cut into parts by their number and width alone, never by the number of threads. Each part adds
into a gradient of its own, and these are summed in order: the same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fastlin import _pool, ops
from fastlin._check import Array, Problem, native, walkable

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
CACHE_LINE = 64

FLOATS = {4: "float32", 8: "float64"}  # dtype.name costs a microsecond


@dataclass(frozen=True)
class Plan:
    """How n rows are cut: into parts, these into kernel calls of `span` rows, and these into blocks."""

    n: int
    parts: int
    span: int
    block: int

    def part(self, number: int) -> tuple[int, int]:
        return self.n * number // self.parts, self.n * (number + 1) // self.parts


@lru_cache(maxsize=1024)
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
    loss: str,
    hyper: tuple[float, ...],
    problem: Problem,
    bias: bool,
    scale: float,
    dW: Array,
    backend: str,
    threads: int | None,
) -> float:
    """The sum over rows of weighted losses; `scale` times its gradient is written to dW, like problem.W, at the end."""
    kernel = ops.loss_kernel(loss, "dense", backend)
    X, y, sample_weight = problem.X, problem.y, problem.sample_weight
    n, d = X.shape
    W, b = class_major(problem.W, d, bias, backend)
    c = W.shape[0]
    cut = plan(n, d, c, W.itemsize, ops.BACKENDS[backend].compiled)
    in_place = walkable(X, W.dtype)
    losses = [0.0] * cut.parts
    parts = _padded((cut.parts, c, d), W.dtype)
    db = np.zeros((cut.parts, c), W.dtype)

    def run_part(number: int) -> Iterator[None]:
        work = np.empty((c + 3, cut.block), W.dtype)
        start, end = cut.part(number)
        while start < end:
            rows = _rows(X, W, start, min(start + cut.span, end), in_place)
            stop = start + len(rows)
            losses[number] += kernel(
                *(rows, W, b, y[start:stop], sample_weight[start:stop], hyper),
                *(work[:c], work[c:], parts[number], db[number]),
            )
            start = stop
            yield

    _pool.pool.run(run_part, cut.parts, _threads(cut, threads))
    plain = dW.dtype == W.dtype and dW.flags.aligned
    target = dW[:d] if plain else np.empty((d, c), W.dtype)
    ops.kernel("combine", backend, FLOATS[W.itemsize])(parts, scale, target)
    if not plain:
        dW[:d] = target
    if bias:
        np.multiply(np.add.reduce(db), scale, out=dW[d])
    return sum(losses)


def scores(W: Array, X: Array, bias: bool, backend: str, threads: int | None) -> Array:
    """The scores (c, n) of every row."""
    n, d = X.shape
    by_class, b = class_major(W, d, bias, backend)
    c = by_class.shape[0]
    kernel = ops.kernel("dense_scores", backend, FLOATS[by_class.itemsize])
    cut = plan(n, d, c, by_class.itemsize, ops.BACKENDS[backend].compiled)
    in_place = walkable(X, by_class.dtype)
    S = np.empty((c, n), by_class.dtype)

    def run_part(number: int) -> Iterator[None]:
        start, end = cut.part(number)
        while start < end:
            rows = _rows(X, by_class, start, min(start + cut.span, end), in_place)
            kernel(rows, by_class, b, S[:, start : start + len(rows)])
            start += len(rows)
            yield

    _pool.pool.run(run_part, cut.parts, _threads(cut, threads))
    return S


def class_major(W: Array, d: int, bias: bool, backend: str) -> tuple[Array, Array]:
    """W as (c, d) with unit column stride, copied only if it is not Fortran-ordered, and b (c,), zero without bias."""
    dtype = native(W)
    by_class = W[:d].T
    if not walkable(by_class, dtype):
        by_class = _padded(by_class.shape, dtype)
        source = W[:d] if W.dtype == dtype and W.flags.aligned else W[:d].astype(dtype)
        ops.kernel("to_class_major", backend, FLOATS[W.itemsize])(source, by_class)
    by_class.flags.writeable = False  # one type for Numba, whether the caller's W is read-only or not
    return by_class, np.array(W[d], dtype) if bias else np.zeros(W.shape[1], dtype)


def _padded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros whose rows begin at cache lines, an odd number of lines apart: rows of 2^k bytes would share L1 sets."""
    line = CACHE_LINE // dtype.itemsize
    row = (-(-shape[-1] // line) | 1) * line
    count = row * math.prod(shape[:-1])
    room = np.zeros(count + line, dtype)
    start = -room.__array_interface__["data"][0] % CACHE_LINE // dtype.itemsize
    padded: Array = room[start : start + count].reshape(*shape[:-1], row)[..., : shape[-1]]
    return padded


def _threads(cut: Plan, threads: int | None) -> int:
    if threads is None and cut.parts == 1:
        return 1
    return _pool.thread_limit(threads)


def _rows(X: Array, W: Array, start: int, stop: int, in_place: bool) -> Array:
    """Rows of X from `start`, at most to `stop`: a view where kernels can read it, else a copy of bounded size."""
    if in_place:
        rows: Array = X[start:stop]
    else:
        few = max(1, COPY_BYTES // (max(X.shape[1], 1) * W.itemsize))
        rows = np.ascontiguousarray(X[start : min(stop, start + few)], W.dtype)
    rows.flags.writeable = False  # one type for Numba, whether the caller's X is read-only or not
    return rows


def update(rule: str, arrays: tuple[Array, ...], scalars: tuple[Any, ...], backend: str) -> None:
    """One fused step over flat arrays of one size."""
    kernel = ops.kernel(rule, backend, FLOATS[arrays[0].itemsize])
    kernel(*arrays, *scalars)
