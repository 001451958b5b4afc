"""OWL-QN: L-BFGS for a smooth function plus a weighted sum of absolute values (Andrew & Gao 2007).

A step stays in the orthant of the start of its search, and what would leave it becomes exactly 0. The columns are of
one scale and centred as in scaled.py, with l1 of each weight changed accordingly: the minimum is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastlin._check import Array
from fastlin._solvers import scaled
from fastlin._solvers.lbfgs import FALL, Search, Values, descend
from fastlin._solvers.linalg import Means
from fastlin._solvers.memory import Memory
from fastlin._solvers.pairs import Pairs
from fastlin._solvers.problem import Point, Problem
from fastlin._solvers.vectors import HERE, dot, in_blocks, largest

HALVINGS = 40


@np.errstate(all="ignore")
def minimize(
    problem: Problem, start: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it; values and gradients have the absolute values."""
    own, means, of_W = scaled.basis(problem, start.x), problem.means, problem.l1
    l1 = own.gradient(of_W)

    def at(z: Array) -> Point:
        x = own.to_W(z)
        smooth = problem.smooth_at(x)
        values = in_blocks(lambda some: float(np.einsum("i,i", l1[some], np.abs(z[some]))), len(z), means)
        steepest = in_blocks(lambda some: largest(_pseudo_gradient(x, smooth.gradient, of_W, some)), len(x), means)
        return Point(z, smooth.value + sum(values), own.gradient(smooth.gradient), float(np.max(steepest)))

    def slope_of(here: Point) -> Array:
        return pseudo_gradient(here.x, here.gradient, l1, means)

    search = Search(at, slope_of, partial(_step, at, problem), problem)
    here = at(own.of_W(start.x)) if memory.state is None else start
    here, flat = descend(search, here, max_iter, tol, note, memory)
    if problem.refine():
        here = at(here.x)
    return here._replace(x=own.to_W(here.x)), flat


def pseudo_gradient(x: Array, gradient: Array, l1: Array, means: Means = HERE) -> Array:
    """The subgradient of smallest size of the function plus sum(l1 |x|)."""
    found = np.empty_like(gradient)

    def fill(some: slice) -> None:
        found[some] = _pseudo_gradient(x, gradient, l1, some)

    in_blocks(fill, len(x), means)
    return found


def _pseudo_gradient(x: Array, gradient: Array, l1: Array, some: slice) -> Array:
    """Some entries of it."""
    x, gradient, l1 = x[some], gradient[some], l1[some]
    found: Array = gradient - np.clip(gradient, -l1, l1)
    moved = np.flatnonzero(x)  # few of them: np.where takes three times as long
    found[moved] = gradient[moved] + np.copysign(l1[moved], x[moved])
    return found


def _step(at: Callable[[Array], Point], values: Values, here: Point, slope: Array, pairs: Pairs) -> Point | None:
    """A lower point in the orthant; None if none is found."""
    direction, size, means = pairs.direction(slope), len(slope), values.means

    def downwards(some: slice) -> None:
        direction[some][direction[some] * slope[some] >= 0] = 0.0

    in_blocks(downwards, size, means)
    length = 1.0 if pairs else min(1.0, 1.0 / np.sqrt(dot(slope, slope, means)))
    for _ in range(HALVINGS):
        x = np.empty_like(here.x)
        promised = sum(in_blocks(partial(_move, x, here.x, length, direction, slope), size, means))
        if not -promised > values.resolution * abs(here.value):
            return None
        there = at(x)
        if there.value <= here.value + FALL * promised:
            return there
        length /= 2
    return None


def _move(x: Array, start: Array, length: float, direction: Array, slope: Array, some: slice) -> float:
    """Some entries of x = start + length * direction, but 0 outside the orthant; and what they promise to gain."""
    found, begin = x[some], start[some]
    np.multiply(direction[some], length, out=found)
    found += begin
    orthant = np.copysign(1.0, np.where(begin != 0, begin, -slope[some]))  # np.sign takes ten times as long
    found[found * orthant <= 0] = 0.0
    return float(np.einsum("i,i", slope[some], found - begin))
