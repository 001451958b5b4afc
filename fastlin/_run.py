"""A loss with its gradient, and scores, over all rows: which kernel, which workspace, which threads.

Rows are cut into parts (fastlin/_plan.py). Each part adds into a gradient of its own, and these are summed in
order: the same bits for any number of threads. Kernels do that by themselves; what they cannot read is copied here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastlin import _plan, _pool, ops
from fastlin._check import Array, Inputs, native, read_only
from fastlin._csr import Csr
from fastlin._laps import lap_rows
from fastlin._plan import SlopesWorkspace, Workspace
from fastlin._rows import CsrStorage, Loss, Storage, in_place

DENSE = ops.STORAGES["dense"]
FLOATS = {4: "float32", 8: "float64"}  # dtype.name costs a microsecond


class Objective(Protocol):
    """What is asked here of a fastlin._objective.Objective."""

    @property
    def loss(self) -> Loss: ...
    @property
    def hyper(self) -> tuple[float, ...]: ...
    @property
    def backend(self) -> str: ...
    @property
    def threads(self) -> int | None: ...


def loss_grad(objective: Objective, inputs: Inputs, scale: float, dW: Array) -> float:
    """The sum over rows of weighted losses; `scale` times its gradient is written to dW, like inputs.W, at the end.

    scale : 1/n for the mean.
    """
    W, X, _, _, contiguous = inputs
    storage = DENSE if contiguous else ops.storage_of(X, native(W))
    if not (contiguous or (W.dtype.isnative and W.flags.aligned and dW.flags.aligned)):
        result = np.empty(dW.shape, native(W))
        value = _run(objective, inputs._replace(W=W.astype(result.dtype)), storage, scale, result)
        dW[...] = result
        return value
    return _run(objective, inputs, storage, scale, dW)


def _run(objective: Objective, inputs: Inputs, storage: Storage | None, scale: float, dW: Array) -> float:
    """The way that the storage and the numbers of rows and classes ask for."""
    if not inputs.contiguous and inputs.X.shape[0] > _plan.SECTION_ROWS:  # contiguous ones are no larger
        return _in_sections(objective, inputs, storage, scale, dW)
    if storage is None:
        return _converted(objective, inputs, scale, dW)
    if isinstance(storage, CsrStorage) and inputs.X.columns:
        return _by_columns(objective, inputs, storage, scale, dW)
    return _fused(objective, inputs, storage, scale, dW)


@np.errstate(all="ignore")
def _in_sections(objective: Objective, inputs: Inputs, storage: Storage | None, scale: float, dW: Array) -> float:
    """Some rows after the other, whose gradients are summed in float64: fastlin/_plan.py says why."""
    _, X, y, sample_weight, _ = inputs
    value, some, total = 0.0, np.empty_like(dW), np.zeros_like(dW, np.float64)
    for i, rows in enumerate(_plan.sections(len(X))):
        of_section = X.section(i, rows) if isinstance(X, Csr) else X[rows]
        few = inputs._replace(X=of_section, y=y[rows], sample_weight=sample_weight[rows])
        value += _run(objective, few, storage, scale, some)
        total += some
    dW[...] = total
    return value


class _Route:
    """What depends on sizes and types alone: the kernel, the cut, and a workspace, kept for the next call.

    Fresh memory costs a page fault for every 4 KB: as much as the arithmetic of a small batch.
    """

    def __init__(
        self, loss: Loss, storage: Storage, backend: str, n: int, d: int, c: int, dtype: Any, sparse: Any = None
    ) -> None:
        self.compiled = ops.BACKENDS[backend].compiled
        how = d, c, dtype.itemsize, self.compiled
        self.cut = _plan.plan(n, *how) if sparse is None else _plan.csr_plan(n, sparse.size, *how)
        self._free: list[Any] = []
        self._make: Callable[[], Any]
        if sparse is not None and sparse.by_columns:
            self.kernel = ops.slopes_kernel(loss, storage, backend)
            self._make = partial(SlopesWorkspace, self.cut, n, c, dtype)
            return
        self.kernel = ops.loss_kernel(loss, storage, backend)
        feature_major = () if sparse is None else (sparse.rows, sparse.in_place)
        self._make = partial(Workspace, self.cut, c, d, dtype, storage.converts, *feature_major)

    def take(self) -> Any:
        """A workspace that nobody else has meanwhile."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def give_back(self, own: Any) -> None:
        """Keep a workspace that no thread uses any more."""
        if self._free or own.size > _plan.LARGE_BYTES:
            return
        if own.size > _plan.KEPT_BYTES:
            for other in _large:
                other.drop()
            _large[:] = [self]
        self._free.append(own)

    def drop(self) -> None:
        """Keep no workspace."""
        self._free.clear()


_route = lru_cache(maxsize=_plan.KEPT)(_Route)
_large: list[_Route] = []  # the last one that kept a large workspace


class _Sparse(NamedTuple):
    """What else a route over sparse rows depends on."""

    size: tuple[int, int]  # of X
    rows: int  # of W
    in_place: bool  # W is read where it lies
    by_columns: bool

    @classmethod
    def of(cls, X: Csr, W: Array) -> _Sparse:
        """For these rows and weights."""
        return cls(X.size, len(W), lies_by_feature(W), bool(X.columns))


def lies_by_feature(W: Array) -> bool:
    """Whether kernels that want it feature-major can read W in place: a feature's numbers side by side."""
    return in_place(W, W.dtype) and (len(W) < 2 or W.strides[0] >= W.shape[1] * W.itemsize)


def _fused(objective: Objective, inputs: Inputs, storage: Storage, scale: float, dW: Array) -> float:
    """The backend's fused kernel, all rows at once or some laps over them; a compiled kernel writes dW in the last."""
    W, X, y, sample_weight, _ = inputs
    hyper, threads = objective.hyper, objective.threads
    sparse = _Sparse.of(X, W) if isinstance(X, Csr) else None
    route = _route(objective.loss, storage, objective.backend, *X.shape, W.shape[1], W.dtype, sparse)
    X = X if sparse is None else X.arrays
    cut, own = route.cut, route.take()
    team = 1 if cut.threads == 1 and threads is None else min(cut.threads, _pool.thread_limit(threads))
    result = dW if route.compiled else np.empty(dW.shape, dW.dtype)
    together, chunks = cut.calls(team)
    for first in range(0, cut.parts, together):
        last = min(first + together, cut.parts)
        for chunk in range(chunks):
            route.kernel(X, W, y, sample_weight, hyper, scale, *own.arrays, result, first, last, chunk, chunks, team)
    if result is not dW:
        np.copyto(dW, result)
    value: float = own.losses.item() if cut.parts == 1 else sum(own.losses.tolist())  # one: a third of the time
    route.give_back(own)
    return value


@np.errstate(all="ignore")
def _by_columns(objective: Objective, inputs: Inputs, storage: CsrStorage, scale: float, dW: Array) -> float:
    """The same bits by the columns of X: first the slopes of all rows, then dW, some columns after the other."""
    W, X, y, sample_weight, _ = inputs
    (n, d), c, W = X.shape, W.shape[1], by_feature(W)
    route = _route(objective.loss, storage, objective.backend, n, d, c, W.dtype, _Sparse.of(X, W))
    cut, own, XT = route.cut, route.take(), X.columns[0]
    team = min(cut.threads, _pool.thread_limit(objective.threads))
    together, chunks = cut.calls(team)
    for first in range(0, cut.parts, together):
        last = min(first + together, cut.parts)
        for chunk in range(chunks):
            route.kernel(
                *(X.arrays, W, y, sample_weight, objective.hyper, *own.arrays, first, last, chunk, chunks, team)
            )
    kernel = ops.kernel(storage.columns, objective.backend, FLOATS[W.itemsize])
    result = dW if lies_by_feature(dW) else np.empty(dW.shape, dW.dtype)
    borders = XT.borders(_plan.column_ranges(X.nnz, d, c, W.itemsize))

    for number, segment in enumerate(XT.segments, 1):
        factor = scale if number == len(XT.segments) else 1.0

        def fill(i: int, segment: Any = segment, adds: bool = number > 1, factor: float = factor) -> Iterator[None]:
            some = result[borders[i] : borders[i + 1]]
            kernel(segment, borders[i], cut.parts, own.slopes, adds, factor, some)
            yield

        _pool.pool.run(fill, len(borders) - 1, team)
    if len(W) > d:
        result[d] = W.dtype.type(scale) * np.add.accumulate(own.sums)[-1]  # in the order of the parts
    if result is not dW:
        np.copyto(dW, result)
    value: float = sum(own.losses.tolist())
    route.give_back(own)
    return value


def by_feature(W: Array) -> Array:
    """W, a copy if kernels cannot read it feature by feature."""
    return W if W.dtype.isnative and W.flags.aligned and lies_by_feature(W) else np.array(W, native(W), order="C")


@np.errstate(all="ignore")
def _converted(objective: Objective, inputs: Inputs, scale: float, dW: Array) -> float:
    """Some rows after the other, copied to where a kernel can read them."""
    W, X, y, sample_weight, _ = inputs
    compiled = ops.BACKENDS[objective.backend].compiled
    value, start, some, total = 0.0, 0, np.empty_like(dW), np.zeros_like(dW)
    while start < len(X):
        rows = _rows(X, W.dtype, start, compiled)
        stop = start + len(rows)
        few = Inputs(W, rows, y[start:stop], sample_weight[start:stop])
        value += _fused(objective, few, DENSE, scale, some)
        total += some
        start = stop
    np.copyto(dW, total)
    return value


def rows_of_both(W: Array, dW: Array) -> tuple[Array, Array] | None:
    """W and dW (d, c) as matrices whose rows' numbers lie side by side, as few rows as can be; None if they do not."""
    own, other = W.flags, dW.flags
    if not (W.dtype.isnative and own.aligned):
        return None
    if own.c_contiguous and other.c_contiguous:
        return W.reshape(1, -1), dW.reshape(1, -1)
    if own.f_contiguous and other.f_contiguous:
        return W.T.reshape(1, -1), dW.T.reshape(1, -1)
    return next(((A, B) for A, B in ((W, dW), (W.T, dW.T)) if lies_by_feature(A) and lies_by_feature(B)), None)


def add_penalty(objective: Objective, terms: tuple[float, float], W: Array, dW: Array) -> float:
    """l2 sum(W^2) + l1 sum(|W|), whose gradient is added to dW; both as `rows_of_both` returns them."""
    kernel = ops.kernel("penalty_stage", objective.backend, FLOATS[W.itemsize])
    n, count = W.shape[1], _plan.penalty_ranges(W.size)
    if count == 1:
        value: float = kernel(dW, W, *terms)
        return value
    values = np.empty(count)

    def fill(i: int) -> Iterator[None]:
        some = slice(n * i // count, n * (i + 1) // count)
        values[i] = kernel(dW[:, some], W[:, some], *terms)
        yield

    _pool.pool.run(fill, count, _pool.thread_limit(objective.threads))
    return sum(values.tolist())


def scores(W: Array, X: Array | Csr, backend: str, threads: int | None) -> Array:
    """The scores (c, n) of every row."""
    if isinstance(X, Csr):
        return _csr_scores(W, X, backend, threads)
    n, d = X.shape
    c, dtype = W.shape[1], native(W)
    weights = kernel_weights(W, d, backend)
    storage = ops.storage_of(X, dtype)
    kernel = ops.kernel(f"{(storage or DENSE).name}_scores", backend, FLOATS[dtype.itemsize])
    S = np.empty((c, n), dtype)
    compiled = ops.BACKENDS[backend].compiled
    cut = _plan.plan(n, d, c, dtype.itemsize, compiled)
    converts = storage is not None and storage.converts
    most = _plan.score_rows(d, c, dtype.itemsize, compiled)
    if compiled and converts:
        most = min(most, _copied_rows(d, dtype))

    def fill(part: int) -> Iterator[None]:
        start, stop = n * part // cut.parts, n * (part + 1) // cut.parts
        row_buffer = np.empty((min(most, stop - start) if converts else 0, d), dtype)
        while start < stop:
            if storage is not None:
                end = min(start + most, stop)
                kernel(read_only(X), start, weights, row_buffer, S[:, start:end])
            else:
                rows = _rows(X[: min(start + most, stop)], dtype, start, compiled)
                end = start + len(rows)
                kernel(rows, 0, weights, row_buffer, S[:, start:end])
            start = end
            yield

    most_threads = min(cut.threads, _plan.score_threads(n, d, c))
    _pool.pool.run(fill, cut.parts, min(most_threads, _pool.thread_limit(threads)))
    return S


def _csr_scores(W: Array, X: Csr, backend: str, threads: int | None) -> Array:
    """The same of sparse rows."""
    (n, d), c, dtype = X.shape, W.shape[1], native(W)
    weights = by_feature(W)
    storage = ops.storage_of(X, dtype)
    kernel = ops.kernel(f"{storage.name}_scores", backend, FLOATS[dtype.itemsize])  # type: ignore[union-attr]
    compiled, size = ops.BACKENDS[backend].compiled, X.size
    cut = _plan.csr_plan(n, size, d, c, dtype.itemsize, compiled)
    most = _plan.csr_score_rows(n, size, c, dtype.itemsize, compiled)
    S, row_buffer = np.empty((c, n), dtype), np.empty((0, d), dtype)

    def fill(part: int) -> Iterator[None]:
        start, stop = n * part // cut.parts, n * (part + 1) // cut.parts
        for first in range(start, stop, most):
            kernel(X.arrays, first, weights, row_buffer, S[:, first : min(first + most, stop)])
            yield

    most_threads = min(cut.threads, _plan.csr_score_threads(size[0], c, dtype.itemsize))
    _pool.pool.run(fill, cut.parts, min(most_threads, _pool.thread_limit(threads)))
    return S


@np.errstate(all="ignore")
def row_losses(objective: Objective, inputs: Inputs) -> Array:
    """The weighted loss (n,) of each row, in float64: the loss's own function, a row at a time, of all scores."""
    W, X, y, sample_weight, _ = inputs
    S = scores(W, X, objective.backend, objective.threads)
    epilogue = ops.kernel(objective.loss.epilogue, objective.backend, FLOATS[S.itemsize])
    scratch, found = np.empty((3, 1), S.dtype), np.empty(len(X))
    for i in range(len(X)):
        row = slice(i, i + 1)
        found[i] = epilogue(S[:, row], y[row], sample_weight[row], scratch, *objective.hyper)
    return found


def kernel_weights(W: Array, d: int, backend: str) -> Array:
    """W as kernels see it: (c, d + 1) whose last column is b, zero if W has none."""
    dtype = native(W)
    source = W if W.dtype == dtype and W.flags.aligned else W.astype(dtype)
    weights = empty_weights(W.shape[1], d, dtype, backend)
    ops.kernel("to_class_major", backend, FLOATS[dtype.itemsize])(source, weights)
    return weights


def empty_weights(c: int, d: int, dtype: np.dtype[Any], backend: str) -> Array:
    """Memory for that: rows at cache lines for compiled kernels, in one piece for the others."""
    return _plan.padded((c, d + 1), dtype) if ops.BACKENDS[backend].compiled else np.empty((c, d + 1), dtype)


def _rows(X: Array, dtype: np.dtype[Any], start: int, few: bool) -> Array:
    """Rows of X from `start` on as kernels can read them: a copy, so that they are aligned too; of few, if so asked."""
    most = _copied_rows(X.shape[1], dtype) if few else lap_rows(2 * X.shape[1] * dtype.itemsize)
    return read_only(np.array(X[start : start + most], dtype, order="C"))


def _copied_rows(d: int, dtype: np.dtype[Any]) -> int:
    """How many rows are copied at once for a compiled kernel, to be read from the cache."""
    return max(1, _plan.COPY_BYTES // (max(d, 1) * dtype.itemsize))
