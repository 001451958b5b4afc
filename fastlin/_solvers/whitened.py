"""L-BFGS in a basis in which the columns of X are white: uncorrelated, and of one scale.

Columns of very different scale, or nearly dependent ones, cost L-BFGS thousands of passes over X. With
G = mean of a_i (x_i - m) (x_i - m)^T over some rows, where a_i is the curvature of row i, and L L^T = G + 2 lam I, the
function of V = L^T W has curvatures near 1 in every direction. a_i changes with W: after 10, 40, 130 ... iterations
the basis is made anew. It is a preconditioner: where the search ends does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastlin._check import Array
from fastlin._solvers import bases, newton
from fastlin._solvers.linalg import Factor, Means, gram
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import Point, Problem

ROWS = 8  # for each feature, in G: a mean of as many products as that needs no more rows to be near that of all
POLISH = 10  # Newton's steps at the end
LEAST_SHARE = 1e-3  # of the largest curvature, that a row has at least
JITTER = 1e-12  # of the largest entry of the diagonal, where there is no penalty


class Basis:
    """W = L^-T V for its rows but b; and b is moved by the mean, so that it is orthogonal to them."""

    def __init__(self, problem: Problem, x: Array) -> None:
        objective = problem.objective
        self._shape, self._bias = problem.W.shape, objective.bias
        self._means = Means(objective.backend, objective.threads)
        few = problem.sample(ROWS * max(1, problem.shape[1]))
        curvature = _curvatures(few, x)
        mean, panels = gram(few.inputs.X, curvature, self._means, few.mapped)
        size, largest = float(curvature.mean()), 1e-300
        for panel in panels:
            first = panel.shape[1] - len(panel)
            if not self._bias:
                panel += np.outer(mean[first : panel.shape[1]], mean[: panel.shape[1]])
            panel *= size
            largest = max(largest, float(panel[:, first:].diagonal().max()))
        for panel in panels:
            panel[np.arange(len(panel)), np.arange(len(panel)) - len(panel)] += 2.0 * problem.l2 + JITTER * largest
        self._factor = Factor(panels, self._means)
        self._mean, self._root = mean, np.sqrt(size)

    def to_W(self, v: Array) -> Array:
        """x of V, both flat."""
        V = v.reshape(self._shape)
        d = len(self._mean)
        W = np.empty_like(V)
        W[:d] = self._factor.solve_transposed(V[:d])
        if self._bias:
            W[d] = V[d] / self._root - (self._mean[:, None] * W[:d]).sum(axis=0)
        return W.ravel()

    def of_W(self, x: Array) -> Array:
        """V of x, both flat."""
        W = x.reshape(self._shape)
        d = len(self._mean)
        V = np.empty_like(W)
        V[:d] = self._factor.times_transposed(W[:d])
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
        dV[:d] = self._factor.solve(dW)
        return dV.ravel()


@np.errstate(all="ignore")  # rows of NaN, or a trial that is far away
def minimize(
    problem: Problem, here: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it."""
    here, flat = bases.minimize(problem, here, BASES, max_iter, tol, note, memory)
    if flat and here.steepest > tol and problem.curved:  # what the value no longer shows, Newton's steps still reach
        basis = Basis(problem, here.x)
        here, _ = newton.minimize(problem, here, POLISH, tol, note, memory, lambda r: basis.to_W(basis.gradient(r)))
    return here, flat


BASES = bases.Bases(Basis, first=10, frame="whitened")


def _curvatures(few: Problem, x: Array) -> Array:
    """The curvature of each row at x, weighted."""
    weight = few.inputs.sample_weight
    curvature = few.curvatures(x) * weight
    largest = float(curvature.max())
    if not 0 < largest < np.inf:  # hinges that no row violates, rows of no weight, or NaN
        return np.ones(len(curvature))
    found: Array = np.maximum(curvature, LEAST_SHARE * largest * (weight > 0))
    return found
