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
from fastlin._solvers.memory import Memory
from fastlin._solvers.pairs import Pairs
from fastlin._solvers.problem import Point, Problem, largest
from fastlin._solvers.vectors import dot, moved

HALVINGS = 40


@np.errstate(all="ignore")
def minimize(
    problem: Problem, start: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it; values and gradients have the absolute values."""
    own = scaled.basis(problem, start.x)
    l1 = own.gradient(problem.l1)

    def at(z: Array) -> Point:
        smooth = problem.smooth_at(x := own.to_W(z))
        value = smooth.value + dot(l1, np.abs(z), problem.means)
        return Point(z, value, own.gradient(smooth.gradient), largest(pseudo_gradient(x, smooth.gradient, problem.l1)))

    search = Search(at, lambda here: pseudo_gradient(here.x, here.gradient, l1), partial(_step, at, problem), problem)
    here = at(own.of_W(start.x)) if memory.state is None else start
    here, flat = descend(search, here, max_iter, tol, note, memory)
    if problem.refine():
        here = at(here.x)
    return here._replace(x=own.to_W(here.x)), flat


def pseudo_gradient(x: Array, gradient: Array, l1: Array) -> Array:
    """The subgradient of smallest size of the function plus sum(l1 |x|)."""
    found: Array = gradient - np.clip(gradient, -l1, l1)
    some = np.flatnonzero(x)  # few of them: np.where takes three times as long
    found[some] = gradient[some] + np.copysign(l1[some], x[some])
    return found


def _step(at: Callable[[Array], Point], values: Values, here: Point, slope: Array, pairs: Pairs) -> Point | None:
    """A lower point in the orthant; None if none is found."""
    direction = pairs.direction(slope)
    direction[direction * slope >= 0] = 0.0
    orthant = np.copysign(1.0, np.where(here.x != 0, here.x, -slope))  # np.sign takes ten times as long
    length = 1.0 if pairs else min(1.0, 1.0 / np.sqrt(dot(slope, slope, values.means)))
    for _ in range(HALVINGS):
        x = moved(here.x, length, direction, values.means)
        x[x * orthant <= 0] = 0.0
        promised = dot(slope, x - here.x, values.means)
        if not -promised > values.resolution * abs(here.value):
            return None
        there = at(x)
        if there.value <= here.value + FALL * promised:
            return there
        length /= 2
    return None
