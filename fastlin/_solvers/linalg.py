"""Products and factors of square matrices for solvers, by our own kernels.

BLAS and LAPACK divide their sums by the number of their threads, whose idle ones keep cores busy between two passes
over X. Here bits depend on sizes alone, `threads` holds, and a fork is safe. Backends that are not compiled use NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastlin import _pool, _run, ops
from fastlin._check import Array, read_only

TINY = 10_000  # multiplications, which BLAS does in its caller's thread, before a kernel would begin
SMALL = 64  # rows of a system that LAPACK solves in its caller's thread
BASE = 32  # a matrix of so few columns is factored column by column
PANEL = 64  # rows of a matrix, which are a task of `gram`
ROWS_BYTES = 512 << 10  # of rows that become float64 at once
COLUMNS = 1 << 14  # of a few long rows, which are a task
ROW_NUMBERS = 1 << 18  # of the rows that a task of `gram` goes through at once: 2 MB

Map = Callable[[Array], Array]


class Means(NamedTuple):
    """Who computes: a backend, and on at most how many threads."""

    backend: str
    threads: int | None

    @property
    def compiled(self) -> bool:
        """Whether our kernels are faster than NumPy's products."""
        return ops.BACKENDS[self.backend].compiled


def product(A: Array, B: Array, means: Means) -> Array:
    """A @ B of float64 matrices: the scores of the rows of A with weights B."""
    if not means.compiled or A.size * B.shape[1] <= TINY:
        found: Array = A @ B
        return found
    return _run.scores(B, np.ascontiguousarray(A), *means).T


def own_product(G: Array, X: Array, means: Means) -> Array:
    """G @ X of float64 matrices, in this thread."""
    total = np.zeros((len(G), X.shape[1]))
    add_product(G, X, total, means)
    return total


def add_product(G: Array, X: Array, total: Array, means: Means) -> None:
    """total += G @ X, in this thread."""
    if not means.compiled or G.size * X.shape[1] <= TINY:
        total += G @ X
    else:
        kernel = ops.kernel("add_product", means.backend, "float64")
        kernel(X, np.ascontiguousarray(G), total, np.zeros(len(G)))


def row_products(P: Array, vectors: list[Array], means: Means) -> Array:
    """P @ V for float64 rows P (m, k) and columns V (k, c), k by far the largest: some rows of V after the other."""
    if not means.compiled or P.size * len(vectors) <= TINY:
        found: Array = P @ np.stack(vectors, axis=1)
        return found
    kernel, P = ops.kernel("dense_scores", means.backend, "float64"), read_only(P)
    tasks = _column_tasks(P)
    sums = np.empty((len(tasks), len(vectors), len(P)))

    def multiply(task: int) -> Iterator[None]:
        some = tasks[task]
        weights = _run.empty_weights(len(vectors), some.stop - some.start, P.dtype, means.backend)
        weights[:, -1] = 0.0
        for row, vector in zip(weights, vectors, strict=True):
            row[:-1] = vector[some]
        kernel(P[:, some], 0, weights, np.empty((0, some.stop - some.start)), sums[task])
        yield

    _pool.pool.run(multiply, len(tasks), _pool.thread_limit(means.threads))
    total: Array = sums.sum(axis=0)
    return total.T


def combined_rows(G: Array, P: Array, means: Means) -> Array:
    """G @ P for float64 factors G (c, m) and rows P (m, k), k by far the largest: some columns after the other."""
    if not means.compiled or G.size * P.shape[1] <= TINY:
        small: Array = G @ P
        return small
    found = np.zeros((len(G), P.shape[1]))
    tasks = _column_tasks(P)

    def add(task: int) -> Iterator[None]:
        add_product(G, P[:, tasks[task]], found[:, tasks[task]], means)
        yield

    _pool.pool.run(add, len(tasks), _pool.thread_limit(means.threads))
    return found


def _column_tasks(P: Array) -> list[slice]:
    k = P.shape[1]
    return [slice(first, min(k, first + COLUMNS)) for first in range(0, k, COLUMNS)]


def gram(X: Any, weight: Array, means: Means, mapped: Map | None = None) -> tuple[Array, list[Array]]:
    """The weighted mean of the rows of X, (d,), and that of (x - mean) (x - mean)^T by panels, in float64.

    A panel is some rows of the matrix (d, d), up to the diagonal: panels[k][i] is row PANEL k + i. Together they take
    half of its memory, and a solver has no other matrix of this size.

    X : any rows; they become float64 some at a time.  weight : (n,), not negative, not all 0.  mapped : what is done
    to some rows first.
    """
    n, d = X.shape
    weight = weight / weight.sum()
    some = list(few_rows(n, d))
    mean = np.zeros(d)
    panels = [np.zeros((min(d, first + PANEL) - first, min(d, first + PANEL))) for first in range(0, d, PANEL)]
    most = some[0].stop
    centred, scaled = np.empty((most, d)), np.empty((d, most))  # used again: a thread's last task keeps its own alive
    for rows in some:
        own = centred[: rows.stop - rows.start]
        np.multiply(weight[rows, None], X[rows] if mapped is None else mapped(X[rows]), out=own)
        mean += own.sum(axis=0)
    for rows in some:
        own = centred[: rows.stop - rows.start]
        np.subtract(X[rows] if mapped is None else mapped(X[rows]), mean, out=own)
        _add_gram(own, np.multiply(own.T, weight[rows], out=scaled[:, : len(own)]), panels, means)
    return mean, panels


def few_rows(n: int, d: int) -> Iterator[slice]:
    """The rows 0 ... n - 1, as many at a time as may become float64."""
    step = max(1, ROWS_BYTES // (8 * max(d, 1)))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def _add_gram(X: Array, G: Array, panels: list[Array], means: Means) -> None:
    """Adds G X to panels."""
    if not means.compiled:
        for panel in panels:
            first, last = _ends(panel)
            panel += G[first:last] @ X[:, :last]
        return
    kernel = ops.kernel("add_product", means.backend, "float64")
    n, step = len(X), max(1, ROW_NUMBERS // max(1, X.shape[1]))

    def add(task: int) -> Iterator[None]:
        panel = panels[task]
        first, last = _ends(panel)
        sums = np.zeros(len(panel))
        for start in range(0, n, step):
            stop = min(n, start + step)
            kernel(X[start:stop, :last], G[first:last, start:stop], panel, sums)
            yield

    _pool.pool.run(add, len(panels), _pool.thread_limit(means.threads))


class Factor:
    """The lower triangular L with L L^T = A, which takes the place of A; products with L^T and its inverse.

    panels : the rows of A, some after the other, on and below the diagonal: see `gram`. A matrix by panels takes half
        of the memory. Where L has blocks on its diagonal, their inverses stand at the end.
    Raises numpy.linalg.LinAlgError where A is not positive definite.
    """

    def __init__(self, panels: list[Array], means: Means) -> None:
        self._panels, self._means = panels, means
        self._diagonal: list[Array] = []  # L's blocks there
        for k, panel in enumerate(panels):
            first, last = _ends(panel)
            if first:
                self._subtract(k, first, last)
            L, inverse = cholesky(panel[:, first:], means)
            self._diagonal.append(L)
            panel[:, first:] = inverse
            for below in panels[k + 1 :]:
                below[:, first:last] = product(below[:, first:last], inverse.T, means)

    def _subtract(self, k: int, first: int, last: int) -> None:
        """From the columns of panel k, on and below the diagonal, what the columns before them make."""
        before = -np.ascontiguousarray(self._panels[k][:, :first].T)

        def subtract(task: int) -> Iterator[None]:
            panel = self._panels[k + task]
            panel[:, first:last] += own_product(panel[:, :first], before, self._means)
            yield

        _pool.pool.run(subtract, len(self._panels) - k, _pool.thread_limit(self._means.threads))

    def times_transposed(self, B: Array) -> Array:
        """L^T @ B, for B (d, c), whose memory is not written."""
        found = np.zeros_like(B)
        for panel, L in zip(self._panels, self._diagonal, strict=True):
            first, last = _ends(panel)
            found[:first] += own_product(B[first:last].T, panel[:, :first], self._means).T
            found[first:last] += own_product(B[first:last].T, L, self._means).T
        return found

    def solve(self, B: Array) -> Array:
        """L^-1 @ B."""
        found = np.empty_like(B)
        for panel in self._panels:
            first, last = _ends(panel)
            rest = B[first:last] - product(panel[:, :first], found[:first], self._means)
            found[first:last] = product(panel[:, first:], rest, self._means)
        return found

    def solve_transposed(self, B: Array) -> Array:
        """L^-T @ B."""
        found = B.copy()
        for panel in reversed(self._panels):
            first, last = _ends(panel)
            found[first:last] = own_product(found[first:last].T, panel[:, first:], self._means).T
            found[:first] -= own_product(found[first:last].T, panel[:, :first], self._means).T
        return found


def solved(A: Array, b: Array, means: Means) -> Array:
    """A^-1 b of a symmetric, positive definite A, which may be overwritten.

    Raises numpy.linalg.LinAlgError where A is not positive definite, or singular.
    """
    if len(A) <= SMALL:
        found: Array = np.linalg.solve(A, b)
        return found
    firsts = range(0, len(A), PANEL)
    factor = Factor([A[first : first + PANEL, : first + PANEL] for first in firsts], means)
    return factor.solve_transposed(factor.solve(b[:, None]))[:, 0]


def _ends(panel: Array) -> tuple[int, int]:
    """The first row of a panel, and the one after the last."""
    rows, last = panel.shape
    return last - rows, last


def cholesky(A: Array, means: Means) -> tuple[Array, Array]:
    """The lower triangular L with L L^T = A, and its inverse, of a block on a diagonal.

    Raises numpy.linalg.LinAlgError where A is not positive definite.
    """
    n = len(A)
    if n <= BASE:
        return _columns(A)
    half = n // 2 // BASE * BASE or BASE
    L, inverse = np.zeros_like(A), np.zeros_like(A)
    first, first_inverse = cholesky(A[:half, :half], means)
    below = product(A[half:, :half], first_inverse.T, means)
    last, last_inverse = cholesky(A[half:, half:] - product(below, below.T, means), means)
    L[:half, :half], L[half:, :half], L[half:, half:] = first, below, last
    inverse[:half, :half], inverse[half:, half:] = first_inverse, last_inverse
    inverse[half:, :half] = -product(last_inverse, product(below, first_inverse, means), means)
    return L, inverse


def _columns(A: Array) -> tuple[Array, Array]:
    """The same, column by column."""
    n = len(A)
    L, inverse = np.zeros((n, n)), np.eye(n)
    for k in range(n):
        column = A[k:, k] - (L[k:, :k] * L[k, :k]).sum(axis=1)
        if not column[0] > 0:
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        L[k:, k] = column / np.sqrt(column[0])
        inverse[k] = (inverse[k] - (L[k, :k, None] * inverse[:k]).sum(axis=0)) / L[k, k]
    return L, inverse
