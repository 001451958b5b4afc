"""The only scheduling: who works on which rows, and in what order sums are taken.

Rows are cut into parts (fastlin/_plan.py). Each part adds into a gradient of its own, and these are summed in
order: the same bits for any number of threads. Kernels do that by themselves; what they cannot read or what BLAS does
better is arranged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from fastlin import _plan, _pool, ops
from fastlin._check import Array, Problem, native, walkable
from fastlin._plan import Workspace

UINT8 = np.dtype(np.uint8)
FLOATS = {4: "float32", 8: "float64"}  # dtype.name costs a microsecond


def loss_grad(
    loss: str, hyper: tuple[float, ...], problem: Problem, scale: float, backend: str, threads: int | None, dW: Array
) -> float:
    """The sum over rows of weighted losses; `scale` times its gradient is written to dW, like problem.W, at the end.

    scale : 1/n for the mean. Everything is checked and every default filled in.
    """
    W, X, _, _, plain = problem
    compiled = ops.BACKENDS[backend].compiled
    if compiled and W.shape[1] >= _plan.WIDE_CLASSES:
        run = _wide
    elif plain or walkable(X, X.dtype if compiled and X.dtype == UINT8 else native(W)):
        run = _fused
    else:
        run = _converted
    if plain or (W.dtype.isnative and W.flags.aligned and dW.flags.aligned):
        return run(loss, hyper, problem, scale, backend, threads, dW)
    result = np.empty(dW.shape, native(W))
    problem = problem._replace(W=W.astype(result.dtype))
    value = run(loss, hyper, problem, scale, backend, threads, result)
    dW[...] = result
    return value


class _Route:
    """What depends on sizes and types alone: the kernel, the cut, and room to work in, kept for the next call.

    Fresh memory costs a page fault for every 4 KB: as much as the arithmetic of a small batch.
    """

    def __init__(self, loss: str, backend: str, n: int, d: int, c: int, X_dtype: Any, dtype: Any) -> None:
        storage = "dense" if X_dtype == dtype else "uint8"
        self.kernel = ops.loss_kernel(loss, storage, backend)
        self.cut = _plan.plan(n, d, c, dtype.itemsize, ops.BACKENDS[backend].compiled)
        self._sizes = self.cut, c, d, dtype, storage != "dense"
        self._free: list[Workspace] = []

    def take(self) -> Workspace:
        """Room that nobody else has meanwhile."""
        try:
            return self._free.pop()
        except IndexError:
            return Workspace(*self._sizes)

    def give_back(self, own: Workspace) -> None:
        """Keep room that no thread uses any more."""
        if not self._free and own.size <= _plan.KEPT_BYTES:
            self._free.append(own)


_route = lru_cache(maxsize=_plan.KEPT)(_Route)


def _fused(
    loss: str, hyper: tuple[float, ...], problem: Problem, scale: float, backend: str, threads: int | None, dW: Array
) -> float:
    """The backend's fused kernel, all rows at once."""
    W, X, y, sample_weight, _ = problem
    route = _route(loss, backend, *X.shape, W.shape[1], X.dtype, W.dtype)
    cut, own = route.cut, route.take()
    team = 1 if cut.threads == 1 and threads is None else min(cut.threads, _pool.thread_limit(threads))
    for lap in range(cut.laps):
        route.kernel(X, W, y, sample_weight, hyper, scale, *own.rooms, dW, lap, cut.laps, team)
    value: float = own.losses.item() if cut.parts == 1 else sum(own.losses.tolist())  # one: a third of the time
    route.give_back(own)
    return value


@np.errstate(all="ignore")
def _converted(
    loss: str, hyper: tuple[float, ...], problem: Problem, scale: float, backend: str, threads: int | None, dW: Array
) -> float:
    """Some rows after the other, copied to where a kernel can read them."""
    W, X, y, sample_weight, _ = problem
    compiled = ops.BACKENDS[backend].compiled
    value, start, some = 0.0, 0, np.empty_like(dW)
    dW[...] = 0
    while start < len(X):
        rows = _rows(X, W.dtype, start, compiled)
        stop = start + len(rows)
        few = Problem(W, rows, y[start:stop], sample_weight[start:stop])
        value += _fused(loss, hyper, few, scale, backend, threads, some)
        dW += some
        start = stop
    return value


@np.errstate(all="ignore")  # NaN and Inf take IEEE's course in the products too
def _wide(
    loss: str, hyper: tuple[float, ...], problem: Problem, scale: float, backend: str, threads: int | None, dW: Array
) -> float:
    """BLAS for the scores and the gradient of a block, the compiled epilogue between them on what is in cache.

    NumPy and PyTorch write all n x c scores to memory and read them several times; here a block is all there is.
    """
    W, X, y, sample_weight, _ = problem
    n, d = X.shape
    c, dtype, bias = W.shape[1], W.dtype, len(W) > d
    by_class = class_major(W, d, backend)
    in_place = walkable(X, dtype)
    most = max(1, _plan.WIDE_BYTES // (c * dtype.itemsize))
    room = np.empty(c * min(most, n), dtype)
    gradient = dW if dW.flags.forc else np.empty_like(dW)  # BLAS writes whole rows or columns
    step = np.empty_like(gradient[:d])
    gradient[...] = 0
    value, start = 0.0, 0
    while start < n:
        rows = X[start : start + most] if in_place else _rows(X[: start + most], dtype, start, True)
        stop = start + len(rows)
        S = room[: c * len(rows)].reshape(c, len(rows))
        np.matmul(by_class[:, :d], rows.T, out=S)
        if bias:
            S += by_class[:, d:]
        value += _epilogue(loss, hyper, S, y[start:stop], sample_weight[start:stop], backend, threads)
        gradient[:d] += np.matmul(rows.T, S.T, out=step)
        if bias:
            gradient[d] += np.add.reduce(S, axis=1)
        start = stop
    np.multiply(gradient, scale, out=dW)
    return value


def _epilogue(
    loss: str, hyper: tuple[float, ...], S: Array, y: Array, weight: Array, backend: str, threads: int | None
) -> float:
    """The epilogue of all columns of S, by threads that each take some."""
    shares = min(-(-S.shape[1] // _plan.WIDE_ROWS), _plan.WIDE_SHARES)
    scratch, losses = np.empty((shares, 3, _plan.WIDE_ROWS), S.dtype), np.empty(shares)
    ops.columns_kernel(loss, backend)(S, y, weight, hyper, scratch, losses, _pool.thread_limit(threads))
    total: float = sum(losses.tolist())
    return total


def scores(W: Array, X: Array, backend: str, threads: int | None) -> Array:
    """The scores (c, n) of every row."""
    n, d = X.shape
    c, dtype = W.shape[1], native(W)
    by_class = class_major(W, d, backend)
    kernel = ops.kernel("dense_scores", backend, FLOATS[dtype.itemsize])
    S = np.empty((c, n), dtype)
    compiled = ops.BACKENDS[backend].compiled
    cut = _plan.plan(n, d, c, dtype.itemsize, compiled)
    in_place = walkable(X, dtype)

    def fill(part: int) -> Iterator[None]:
        start, stop = n * part // cut.parts, n * (part + 1) // cut.parts
        while start < stop:
            rows = _read_only(X[start:stop]) if in_place else _rows(X[:stop], dtype, start, compiled)
            end = start + len(rows)
            kernel(rows, by_class[:, :d], by_class[:, d], S[:, start:end])
            start = end
            yield

    _pool.pool.run(fill, cut.parts, min(cut.threads, _pool.thread_limit(threads)))
    return S


def class_major(W: Array, d: int, backend: str) -> Array:
    """W as (c, d + 1) whose last column is b, zero if W has none."""
    dtype = native(W)
    source = W if W.dtype == dtype and W.flags.aligned else W.astype(dtype)
    by_class = _plan.padded((W.shape[1], d + 1), dtype)
    by_class[:, d] = 0
    ops.kernel("to_class_major", backend, FLOATS[dtype.itemsize])(source, by_class[:, : len(W)])
    return by_class


def _rows(X: Array, dtype: np.dtype[Any], start: int, few: bool) -> Array:
    """Rows of X from `start` on as kernels can read them: all, or a few: a copy of bounded size."""
    most = max(1, _plan.COPY_BYTES // (max(X.shape[1], 1) * dtype.itemsize)) if few else len(X)
    return _read_only(np.ascontiguousarray(X[start : start + most], dtype))


def _read_only(A: Array) -> Array:
    """A view of A that is not writeable: Numba compiles for either, and one is enough."""
    view = A.view()
    view.flags.writeable = False
    return view
