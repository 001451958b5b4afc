"""L-BFGS in a basis in which the columns of X are white: uncorrelated, and of one scale.

Columns of very different scale, or nearly dependent ones, cost L-BFGS thousands of passes over X. With
G = mean of a_i (x_i - m) (x_i - m)^T over some rows, where a_i is the curvature of row i, and L L^T = G + 2 lam I, the
function of V = L^T W has curvatures near 1 in every direction. a_i changes with W: after 10, 40, 130 ... iterations
the basis is made anew. It is a preconditioner: where the search ends does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastlin import _lbfgs, _newton
from fastlin._check import MOST_STEPS, Array
from fastlin._linalg import Means, cholesky, gram, product
from fastlin._memory import Memory, point_of, point_values
from fastlin._problem import Point, Problem

FRAME = "whitened"  # in checkpoints
ROWS = 8  # for each feature, in G: a mean of as many products as that needs no more rows to be near that of all
FIRST, LONGER = 10, 3  # iterations in the first basis, and how many times more in each that follows
POLISH = 10  # Newton's steps at the end
LEAST_SHARE = 1e-3  # of the largest curvature, that a row has at least
JITTER = 1e-12  # of the largest entry of the diagonal, where there is no penalty


class Basis:
    """W = L^-T V for its rows but b; and b is moved by the mean, so that it is orthogonal to them.

    start : V of the x at which the curvatures are those of the basis.
    """

    def __init__(self, problem: Problem, x: Array) -> None:
        objective = problem.objective
        self._shape, self._bias = problem.W.shape, objective.bias
        self._means = Means(objective.backend, objective.threads)
        rows, curvature = _curvatures(problem, x)
        mean, G = gram(rows, curvature, self._means)
        if not self._bias:
            G += np.outer(mean, mean)
        size = float(curvature.mean())
        G *= size
        G[np.diag_indices_from(G)] += 2.0 * problem.l2 + JITTER * G.diagonal().max(initial=1e-300)
        L, self._inverse = cholesky(G, self._means)
        self._mean, self._root = mean, np.sqrt(size)
        self.start = self._of_W(x, L)

    def to_W(self, v: Array) -> Array:
        """x of V, both flat."""
        V = v.reshape(self._shape)
        d = len(self._mean)
        W = np.empty_like(V)
        W[:d] = product(self._inverse.T, V[:d], self._means)
        if self._bias:
            W[d] = V[d] / self._root - (self._mean[:, None] * W[:d]).sum(axis=0)
        return W.ravel()

    def _of_W(self, x: Array, L: Array) -> Array:
        """V of x, both flat."""
        W = x.reshape(self._shape)
        d = len(self._mean)
        V = np.empty_like(W)
        V[:d] = product(L.T, W[:d], self._means)
        if self._bias:
            V[d] = (W[d] + (self._mean[:, None] * W[:d]).sum(axis=0)) * self._root
        return V.ravel()

    def gradient(self, gradient: Array) -> Array:
        """The gradient in V, of that in W."""
        dW = gradient.reshape(self._shape)
        d = len(self._mean)
        dV = np.empty_like(dW)
        if self._bias:
            dV[d] = dW[d] / self._root
            dW = dW[:d] - self._mean[:, None] * dW[d]
        dV[:d] = product(self._inverse, dW, self._means)
        return dV.ravel()


@np.errstate(all="ignore")  # rows of NaN, or a trial that is far away
def minimize(
    problem: Problem, here: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it."""
    done, stage, flat, moved = 0, FIRST, False, True
    if (state := memory.state) is not None:
        here = point_of(state, FRAME, len(here.x))
        done, stage = (state.count(f"{FRAME}.{name}", MOST_STEPS) for name in ("done", "stage"))
        flat = state.count(f"{FRAME}.polishing", 1) == 1
    while done < max_iter and here.steepest > tol and moved and not flat and np.isfinite(here.value):
        count = min(stage, max_iter - done)
        memory.outer(FRAME, partial(_frame, here, done, stage, polishing=False))
        here, flat, moved = _in_one_basis(problem, here, count, tol, note, memory)
        done, stage = done + count, stage * LONGER
    if flat and here.steepest > tol and problem.curved:  # what the value no longer shows, Newton's steps still reach
        basis = Basis(problem, here.x)
        memory.outer(FRAME, partial(_frame, here, done, stage, polishing=True))
        here, _ = _newton.minimize(problem, here, POLISH, tol, note, memory, lambda r: basis.to_W(basis.gradient(r)))
    return here, flat


def _frame(here: Point, done: int, stage: int, polishing: bool) -> dict[str, Any]:
    return {**point_values(here), "done": done, "stage": stage, "polishing": int(polishing)}


def _in_one_basis(
    problem: Problem, here: Point, count: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool, bool]:
    """Where so many iterations lead, whether rounding ended them, and whether there was a step at all."""
    basis = Basis(problem, here.x)
    start = _moved(here, basis.start, basis)
    end, flat = _lbfgs.minimize(
        *(lambda v: _moved(problem.at(basis.to_W(v)), v, basis), start, count, tol, note, problem.resolution, memory)
    )
    if end is start:
        return here, flat, False
    return problem.at(basis.to_W(end.x)), flat, True


def _moved(there: Point, v: Array, basis: Basis) -> Point:
    """A point of W in the basis of V."""
    return Point(v, there.value, basis.gradient(there.gradient), there.steepest)


def _curvatures(problem: Problem, x: Array) -> tuple[Array, Array]:
    """Some rows of X, and the curvature of each at x, weighted."""
    few = problem.sample(ROWS * max(1, problem.shape[1]))
    weight = few.inputs.sample_weight
    curvature = few.curvatures(x) * weight
    largest = float(curvature.max())
    if not 0 < largest < np.inf:  # hinges that no row violates, rows of no weight, or NaN
        return few.rows(), np.ones(len(curvature))
    return few.rows(), np.maximum(curvature, LEAST_SHARE * largest * (weight > 0))
