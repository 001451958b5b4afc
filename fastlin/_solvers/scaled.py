"""A diagonal change of basis, for sparse rows and L1: columns of one scale, and b moved to be orthogonal to them.

With the mean m of the columns, X @ W + b = (X - m) @ W + (b + m @ W), and b' = b + m @ W is what a solver moves: else
a frequent word or a long text drives b and W against each other, and L-BFGS follows for hundreds of passes over X. Of
W a solver moves V = W * sqrt(h), h = a v / sqrt(f) + 2 lam: a is the curvature of the loss, v the variance of a column,
so that a v is the curvature along it, and f the share of rows that have an entry there. The root of f keeps rare
columns, of which text has most, from a scale that the fit then has to undo: docs/solvers.md has the passes. It takes
O(d) numbers and one pass over X. As a changes with W, the basis is made anew after 30, 120, 390 ... iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlin._check import Array
from fastlin._solvers import bases
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import Point, Problem
from fastlin._solvers.vectors import in_blocks

ROWS = 1000  # that tell the curvature of the loss, and dense columns


class Basis:
    """V = root * W, b' = of_b * (b + mean @ W), and back; all flat, root and mean (d,)."""

    def __init__(self, problem: Problem, root: Array, mean: Array, of_b: float) -> None:
        self._shape, self._bias = problem.W.shape, problem.objective.bias
        self._root, self._mean, self._of_b = root[:, None], mean[:, None], of_b
        self._means = problem.means

    def to_W(self, v: Array) -> Array:
        """x of V."""
        V, d = v.reshape(self._shape), len(self._root)
        W = np.empty_like(V)

        def divide(some: slice) -> Any:
            np.divide(V[some], self._root[some], out=W[some])
            return self._product(W, some)

        moved = self._in_blocks(divide)
        if self._bias:
            W[d] = V[d] / self._of_b - moved
        return W.ravel()

    def of_W(self, x: Array) -> Array:
        """V of x."""
        W, d = x.reshape(self._shape), len(self._root)
        V = np.empty_like(W)

        def multiply(some: slice) -> Any:
            np.multiply(W[some], self._root[some], out=V[some])
            return self._product(W, some)

        moved = self._in_blocks(multiply)
        if self._bias:
            V[d] = (W[d] + moved) * self._of_b
        return V.ravel()

    def gradient(self, gradient: Array) -> Array:
        """The gradient in V, of that in W."""
        dW, d = gradient.reshape(self._shape), len(self._root)
        dV = np.empty_like(dW)

        def divide(some: slice) -> None:
            if self._bias:
                np.multiply(self._mean[some], -dW[d], out=dV[some])
                dV[some] += dW[some]
                dV[some] /= self._root[some]
            else:
                np.divide(dW[some], self._root[some], out=dV[some])

        in_blocks(divide, d, self._means, self._shape[1])
        if self._bias:
            dV[d] = dW[d] / self._of_b
        return dV.ravel()

    def _in_blocks(self, work: Callable[[slice], Any]) -> Any:
        """The sum of what work(some) returns for some rows of W after the other: m @ W by `_product`."""
        return sum(in_blocks(work, len(self._root), self._means, self._shape[1]))

    def _product(self, W: Array, some: slice) -> Any:
        """m @ W of some rows, without BLAS; 0 where no b needs it."""
        return np.einsum("ki,kj->j", self._mean[some], W[some]) if self._bias else 0


def basis(problem: Problem, x: Array) -> Basis:
    """The basis for a search from x. A few sparse rows lack most columns, so it looks at all of them."""
    few = problem.sample(ROWS)
    share, variance, mean = (problem if problem.sparse else few).column_moments()
    curvature = float((few.curvatures(x) * few.inputs.sample_weight).mean())
    if not 0 < curvature < np.inf:  # hinges that no row violates, rows of no weight, or NaN
        curvature = 1.0
    h = np.divide(curvature * variance, np.sqrt(share), out=np.zeros_like(mean), where=share > 0) + 2.0 * problem.l2
    largest = h.max(initial=0.0)
    if not 0 < largest < np.inf:
        return Basis(problem, np.ones_like(h), np.zeros_like(h), 1.0)
    root = np.sqrt(np.where(h > 0, h, largest) / largest)
    return Basis(problem, root, mean, float(np.sqrt(curvature / largest)))


@np.errstate(all="ignore")
def minimize(
    problem: Problem, here: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where L-BFGS ended, and whether rounding alone ended it."""
    return bases.minimize(problem, here, BASES, max_iter, tol, note, memory)


BASES = bases.Bases(basis, first=30, frame="scaled")
