"""Newton's method with the whole Hessian, for problems of few weights: some ten steps, each of one factorisation.

The Hessian in W of one row x is M (x) x x^T, where M (c, c) is that of its loss in the scores. Rows of W and columns of
X may differ widely in size, so the matrix is scaled to a diagonal of ones. What no row of X tells is not moved:

* a summand common to all classes changes no difference of scores; where no penalty pins it, the step has none of it;
* where the Hessian is singular otherwise (dependent columns, separable classes, hinges that nobody violates), JITTER
  keeps the system solvable, and the line search the step in bounds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastlin._check import Array
from fastlin._solvers import newton
from fastlin._solvers.linalg import Means, add_product, own_product, solved
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import SECOND, Point, Problem

MOST = 4000  # weights: the Hessian takes 128 MB, and its factor a second
NUMBERS = 1 << 16  # of the products of rows with their curvatures that are made at once: half a megabyte
JITTER = 1e-12  # of the diagonal
FEW = 64  # weights, and a Hessian of so many multiplications: fewer than 30 passes of L-BFGS take, in Python above all
CHEAP = 2_000_000
SMOOTH = ("softmax", "logistic", "squared_error")


def can(problem: Problem) -> bool:
    """Whether its rows are at hand, with all their zeros."""
    return problem.in_memory and not problem.sparse


def pays(problem: Problem) -> bool:
    """Whether it is faster here than L-BFGS in a white basis."""
    (n, _), (rows, c) = problem.shape, problem.W.shape
    if not can(problem) or not problem.curved or problem.objective.loss.name not in SMOOTH or rows * c > FEW:
        return False
    return bool(n * len(_pairs(problem)[0]) * rows * rows <= CHEAP)


def minimize(
    problem: Problem, start: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it."""
    hessian = Hessian(problem)
    return newton.steps(problem, start, max_iter, tol, note, memory, lambda here: _direction(hessian, here))


def _direction(hessian: Hessian, here: Point) -> Array:
    """-H^-1 gradient."""
    H = hessian(here.x)
    diagonal = H.diagonal()
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5  # where it is 0, nothing depends on that weight
    H *= scale
    H *= scale[:, None]
    H.reshape(-1)[:: len(H) + 1] += JITTER
    found: Array = -scale * solved(H, scale * here.gradient, hessian.means)
    return found


class Hessian:
    """The matrix (k, k) of second derivatives at a flat x of k entries, penalty included.

    Of losses that compare classes, what pins the summand common to them is added.
    """

    def __init__(self, problem: Problem) -> None:
        self.means = Means(problem.objective.backend, problem.objective.threads)
        self._problem = problem
        n, (rows, c) = problem.shape[0], problem.W.shape
        self._of_pairs = BETWEEN.get(_kind(problem))
        self._pairs = _pairs(problem)
        self._pair = np.zeros((c, c), np.intp)
        self._pair[self._pairs] = self._pair.T[self._pairs] = np.arange(len(self._pairs[0]))
        step = max(1, NUMBERS // max(1, len(self._pairs[0]) * rows))
        self._blocks = [slice(first, min(n, first + step)) for first in range(0, n, step)]
        self._only = self._rows(self._blocks[0]) if len(self._blocks) == 1 else None

    def __call__(self, x: Array) -> Array:
        """A new array."""
        problem, pairs = self._problem, self._pairs
        (n, d), (rows, c) = problem.shape, problem.W.shape
        W = x.reshape(rows, c)
        total = np.zeros((rows * len(pairs[0]), rows))
        for some in self._blocks:
            X, XT = self._rows(some) if self._only is None else self._only
            second = problem.second_of(own_product(W.T, XT, self.means).T, some).T
            M = second if self._of_pairs is None else self._of_pairs(second, *pairs)
            M = M * (problem.inputs.sample_weight[some] / n)
            add_product((XT[:, None, :] * M).reshape(len(total), len(X)), X, total, self.means)
        blocks = total.reshape(rows, len(pairs[0]), rows)
        if self._of_pairs is None:
            H = np.zeros((rows, c, rows, c))
            H[:, pairs[0], :, pairs[0]] = blocks.swapaxes(0, 1)
        else:
            H = np.ascontiguousarray(blocks[:, self._pair].swapaxes(2, 3))
            for j in range(d if problem.l2 else 0, rows):
                H[j, :, j, :] += H[j, :, j, :].trace() / c
        H.reshape(-1)[: d * c * (rows * c + 1) : rows * c + 1] += 2.0 * problem.l2
        return H.reshape(rows * c, rows * c)

    def _rows(self, some: slice) -> tuple[Array, Array]:
        """Some rows of X in float64, with a column of ones where W has a row for b, and their transpose."""
        X = self._problem.rows(some)
        found = np.ones((len(X), self._problem.W.shape[0]))
        found[:, : X.shape[1]] = X
        return found, np.ascontiguousarray(found.T)


def _kind(problem: Problem) -> str:
    return SECOND[problem.objective.loss.name][0]


def _pairs(problem: Problem) -> tuple[Array, Array]:
    """The classes k >= j whose scores have a second derivative that is not 0."""
    c = problem.W.shape[1]
    return np.tril_indices(c) if _kind(problem) in BETWEEN else (np.arange(c), np.arange(c))


# ---- Second derivatives (pairs, n) in the scores of classes k >= j, of those that ops.CURVATURES take (c, n) -----


def _of_softmax(P: Array, k: Array, j: Array) -> Array:
    found = P[k] * -P[j]
    found[k == j] += P
    return found


def _of_svm(A: Array, k: Array, j: Array) -> Array:
    """A has the second derivatives of the hinges with other classes, and -1 for a row's own."""
    own, a = (A < 0).astype(np.float64), np.maximum(A, 0.0)
    found: Array = (a.sum(axis=0) * own[k] - a[k]) * own[j] - own[k] * a[j]
    found[k == j] += a
    return found


BETWEEN = {"softmax_curvature": _of_softmax, "svm_curvature": _of_svm}
