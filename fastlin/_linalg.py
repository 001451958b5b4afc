"""Products and factors of square matrices for solvers, by our own kernels.

BLAS and LAPACK divide their sums by the number of their threads, whose idle ones keep cores busy between two passes
over X. Here bits depend on sizes alone, `threads` holds, and a fork is safe. Backends that are not compiled use NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastlin import _pool, _run, ops
from fastlin._check import Array
from fastlin._plan import COPY_BYTES

TINY = 10_000  # multiplications, which BLAS does in its caller's thread, before a kernel would begin
BASE = 32  # a matrix of so few columns is factored column by column
FEATURES = 64  # of a task of `gram`
ROW_NUMBERS = 1 << 18  # of the rows that a task of `gram` goes through at once: 2 MB


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


def gram(X: Array, weight: Array, means: Means) -> tuple[Array, Array]:
    """The weighted mean of the rows of X, and that of (x - mean) (x - mean)^T: (d,) and (d, d), in float64.

    X : any rows; they become float64 some at a time.  weight : (n,), not negative, not all 0.
    """
    n, d = X.shape
    weight = weight / weight.sum()
    mean, total = np.zeros(d), np.zeros((d, d))
    step = max(1, COPY_BYTES // (8 * max(d, 1)))
    some = [slice(start, start + step) for start in range(0, n, step)]
    for rows in some:
        mean += (weight[rows, None] * X[rows]).sum(axis=0)
    for rows in some:
        centred = np.subtract(X[rows], mean, order="C")
        _add_gram(centred, np.ascontiguousarray((weight[rows, None] * centred).T), total, means)
    for k in range(d):  # in place
        total[k, k + 1 :] = total[k + 1 :, k]
    return mean, total


def _add_gram(X: Array, G: Array, total: Array, means: Means) -> None:
    """total += G X, on and below the diagonal."""
    if not means.compiled:
        total += G @ X
        return
    kernel = ops.kernel("add_product", means.backend, "float64")
    (n, d), step = X.shape, max(1, ROW_NUMBERS // max(1, X.shape[1]))

    def add(task: int) -> Iterator[None]:
        first, last = task * FEATURES, min(d, (task + 1) * FEATURES)
        sums = np.zeros(last - first)
        for start in range(0, n, step):
            stop = min(n, start + step)
            kernel(X[start:stop, :last], G[first:last, start:stop], total[first:last, :last], sums)
            yield

    _pool.pool.run(add, -(-d // FEATURES), _pool.thread_limit(means.threads))


def cholesky(A: Array, means: Means) -> tuple[Array, Array]:
    """The lower triangular L with L L^T = A, and its inverse.

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
