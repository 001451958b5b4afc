"""The only scheduling: who works on which rows, and in what order sums are taken.

Rows are cut into parts (fastlin/_plan.py). Each part adds into a gradient of its own, and these are summed in
order: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastlin import _plan, _pool, ops
from fastlin._check import Array, Problem, native, walkable
from fastlin._plan import Plan

FLOATS = {4: "float32", 8: "float64"}  # dtype.name costs a microsecond


class Call(NamedTuple):
    """A loss with its gradient, checked and with every default filled in."""

    loss: str
    hyper: tuple[float, ...]
    problem: Problem
    bias: bool
    scale: float  # of the gradient: 1/n for the mean
    backend: str
    threads: int | None


def loss_grad(call: Call, dW: Array) -> float:
    """The sum over rows of weighted losses; `scale` times its gradient is written to dW, like problem.W, at the end."""
    many = call.problem.W.shape[1] >= _plan.WIDE_CLASSES
    run = _wide if many and ops.BACKENDS[call.backend].compiled else _fused
    return run(call, dW)


@np.errstate(all="ignore")  # NaN and Inf take IEEE's course in the products too
def _wide(call: Call, dW: Array) -> float:
    """BLAS for the scores and the gradient of a block, the compiled epilogue between them on what is in cache.

    NumPy and PyTorch write all n x c scores to memory and read them several times; here a block is all there is.
    """
    loss, hyper, problem, bias, scale, backend, threads = call
    X, y, sample_weight = problem.X, problem.y, problem.sample_weight
    n, d = X.shape
    c, dtype = problem.W.shape[1], native(problem.W)
    W, b = class_major(problem.W, d, bias, backend, _plan.padded((c, d), dtype))
    in_place = walkable(X, dtype)
    most = max(1, _plan.WIDE_BYTES // (c * dtype.itemsize))
    room = np.empty(c * min(most, n), dtype)
    total, step = _plan.padded((1, c, d), dtype), np.empty((c, d), dtype)
    total[...] = 0
    db = np.zeros((1, c), dtype)
    value, start = 0.0, 0
    while start < n:
        rows = _rows(X, dtype, start, min(start + most, n), in_place)
        stop = start + len(rows)
        S = room[: c * len(rows)].reshape(c, len(rows))
        np.matmul(W, rows.T, out=S)
        S += b[:, None]
        value += _epilogue(loss, hyper, S, y[start:stop], sample_weight[start:stop], backend, threads)
        np.matmul(S, rows, out=step)
        total[0] += step
        db[0] += np.add.reduce(S, axis=1)
        start = stop
    _combine(total, db, scale, dW, bias, backend)
    return value


def _epilogue(
    loss: str, hyper: tuple[float, ...], S: Array, y: Array, weight: Array, backend: str, threads: int | None
) -> float:
    """The epilogue of all columns of S, by threads that each take some."""
    kernel = ops.kernel(f"{loss}_epilogue", backend, FLOATS[S.itemsize])
    size = _plan.WIDE_ROWS
    count = -(-S.shape[1] // size)
    losses = [0.0] * count

    def run_part(number: int) -> Iterator[None]:
        some = slice(number * size, (number + 1) * size)
        scratch = np.empty((3, size), S.dtype)
        losses[number] = kernel(S[:, some], y[some], weight[some], scratch, *hyper)
        yield

    _pool.pool.run(run_part, count, _pool.thread_limit(threads))
    return sum(losses)


def _fused(call: Call, dW: Array) -> float:
    """The backend's fused kernel over parts of the rows, each into a gradient of its own."""
    loss, hyper, problem, bias, scale, backend, threads = call
    X, y, sample_weight = problem.X, problem.y, problem.sample_weight
    n, d = X.shape
    c, dtype = problem.W.shape[1], native(problem.W)
    compiled = ops.BACKENDS[backend].compiled
    storage = "uint8" if compiled and X.dtype == np.uint8 and walkable(X, X.dtype) else "dense"
    kernel = ops.loss_kernel(loss, storage, backend)
    cut = _plan.plan(n, d, c, dtype.itemsize, compiled)
    sizes = cut, c, d, dtype, storage != "dense"
    own = _plan.take(*sizes)
    W, b = class_major(problem.W, d, bias, backend, own.W)
    losses = [0.0] * cut.parts

    def begin(number: int) -> None:
        own.dW[number].fill(0)
        own.db[number].fill(0)

    def add(number: int, start: int, rows: Array) -> None:
        stop = start + len(rows)
        inputs = rows, W, b, y[start:stop], sample_weight[start:stop], hyper
        losses[number] += kernel(*inputs, *own.part[number])

    _over_rows(X, dtype if storage == "dense" else X.dtype, cut, threads, begin, add)
    _combine(own.dW, own.db, scale, dW, bias, backend)
    _plan.give_back(own, *sizes)
    return sum(losses)


def scores(W: Array, X: Array, bias: bool, backend: str, threads: int | None) -> Array:
    """The scores (c, n) of every row."""
    n, d = X.shape
    c, dtype = W.shape[1], native(W)
    by_class, b = class_major(W, d, bias, backend, _plan.padded((c, d), dtype))
    kernel = ops.kernel("dense_scores", backend, FLOATS[dtype.itemsize])
    S = np.empty((c, n), dtype)

    def fill(number: int, start: int, rows: Array) -> None:
        kernel(rows, by_class, b, S[:, start : start + len(rows)])

    cut = _plan.plan(n, d, c, dtype.itemsize, ops.BACKENDS[backend].compiled)
    _over_rows(X, dtype, cut, threads, lambda number: None, fill)
    return S


def class_major(W: Array, d: int, bias: bool, backend: str, room: Array) -> tuple[Array, Array]:
    """W as (c, d) with unit column stride, copied to `room` unless it is Fortran-ordered; b (c,), zero without bias."""
    dtype = native(W)
    by_class = W[:d].T
    if not walkable(by_class, dtype):
        source = W[:d] if W.dtype == dtype and W.flags.aligned else W[:d].astype(dtype)
        ops.kernel("to_class_major", backend, FLOATS[dtype.itemsize])(source, room)
        by_class = room.view()
    by_class.flags.writeable = False  # one type for Numba, whether the caller's W is read-only or not
    return by_class, np.array(W[d], dtype) if bias else np.zeros(W.shape[1], dtype)


def _combine(parts: Array, db: Array, scale: float, dW: Array, bias: bool, backend: str) -> None:
    """dW[:d] = scale * the sum of the parts, and the sum of db as its last row."""
    d = parts.shape[2]
    plain = dW.dtype == parts.dtype and dW.flags.aligned
    target = dW[:d] if plain else np.empty((d, parts.shape[1]), parts.dtype)
    ops.kernel("combine", backend, FLOATS[parts.itemsize])(parts, scale, target)
    if not plain:
        dW[:d] = target
    if bias:
        with np.errstate(all="ignore"):
            np.multiply(np.add.reduce(db), scale, out=dW[d])


def _over_rows(
    X: Array,
    dtype: np.dtype[Any],
    cut: Plan,
    threads: int | None,
    begin: Callable[[int], None],
    work: Callable[[int, int, Array], None],
) -> None:
    """For every part: begin(part), then work(part, start, rows) on its rows from `start`, as kernels can read them."""
    in_place = walkable(X, dtype)
    limit = 1 if cut.parts == 1 and threads is None else _pool.thread_limit(threads)
    if cut.parts == 1 and in_place and 0 < cut.n <= cut.span:  # the whole problem in one kernel call
        begin(0)
        work(0, 0, _rows(X, dtype, 0, cut.n, in_place))
        return

    def run_part(number: int) -> Iterator[None]:
        begin(number)
        start, end = cut.part(number)
        while start < end:
            rows = _rows(X, dtype, start, min(start + cut.span, end), in_place)
            work(number, start, rows)
            start += len(rows)
            yield

    _pool.pool.run(run_part, cut.parts, limit)


def _rows(X: Array, dtype: np.dtype[Any], start: int, stop: int, in_place: bool) -> Array:
    """Rows of X from `start`, at most to `stop`: a view where kernels can read it, else a copy of bounded size."""
    if in_place:
        rows: Array = X[start:stop]
    else:
        few = max(1, _plan.COPY_BYTES // (max(X.shape[1], 1) * dtype.itemsize))
        rows = np.ascontiguousarray(X[start : min(stop, start + few)], dtype)
    rows.flags.writeable = False  # one type for Numba, whether the caller's X is read-only or not
    return rows
