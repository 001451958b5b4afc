"""OWL-QN: L-BFGS for a smooth function plus a weighted sum of absolute values (Andrew & Gao 2007).

A step stays in the orthant of the start of its search, and what would leave it becomes exactly 0. Columns of widely
different scale are divided by theirs first, sparse ones as in scaled.py, with l1 of each weight changed accordingly:
the minimum is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastlin._check import Array
from fastlin._solvers import scaled
from fastlin._solvers.lbfgs import FALL, descend, direction_of, dot
from fastlin._solvers.memory import Memory, Pairs
from fastlin._solvers.problem import Point, Problem

HALVINGS = 40
SCALES = 10.0  # between the largest and the smallest column, from where on they are divided by their scales
ROWS = 1000  # that tell the scales


@np.errstate(all="ignore")
def minimize(
    problem: Problem, start: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it; values and gradients have the absolute values."""
    own = _basis(problem, start.x)
    l1 = own.gradient(problem.l1)

    def at(z: Array) -> Point:
        smooth = problem.smooth_at(x := own.to_W(z))
        value = smooth.value + float((l1 * np.abs(z)).sum())
        slope = pseudo_gradient(x, smooth.gradient, problem.l1)
        return Point(z, value, own.gradient(smooth.gradient), float(np.abs(slope).max(initial=0.0)))

    def slope_of(here: Point) -> Array:
        return pseudo_gradient(here.x, here.gradient, l1)

    here = at(own.of_W(start.x)) if memory.state is None else start
    step = partial(_step, at, problem.resolution)
    here, flat = descend(here, slope_of, step, max_iter, tol, note, problem.resolution, memory)
    return here._replace(x=own.to_W(here.x)), flat


def pseudo_gradient(x: Array, gradient: Array, l1: Array) -> Array:
    """The subgradient of smallest size of the function plus sum(l1 |x|)."""
    found: Array = gradient - np.clip(gradient, -l1, l1)
    some = np.flatnonzero(x)  # few of them: np.where takes three times as long
    found[some] = gradient[some] + np.copysign(l1[some], x[some])
    return found


def _step(at: Callable[[Array], Point], resolution: float, here: Point, slope: Array, pairs: Pairs) -> Point | None:
    """A lower point in the orthant; None if none is found."""
    direction = direction_of(slope, pairs)
    direction[direction * slope >= 0] = 0.0
    orthant = np.copysign(1.0, np.where(here.x != 0, here.x, -slope))  # np.sign takes ten times as long
    length = 1.0 if pairs else min(1.0, 1.0 / np.sqrt(dot(slope, slope)))
    for _ in range(HALVINGS):
        x = here.x + length * direction
        x[x * orthant <= 0] = 0.0
        promised = dot(slope, x - here.x)
        if not -promised > resolution * abs(here.value):
            return None
        there = at(x)
        if there.value <= here.value + FALL * promised:
            return there
        length /= 2
    return None


def _basis(problem: Problem, x: Array) -> scaled.Basis:
    """Sparse columns have their own; dense ones are divided by their deviations, where those differ widely."""
    if problem.sparse:
        return scaled.basis(problem, x)
    d, deviation = problem.shape[1], problem.sample(ROWS).deviations()
    known = deviation[(deviation > 0) & np.isfinite(deviation)]
    wide = bool(known.size and known.max() > SCALES * known.min())
    root = np.where(deviation > 0, deviation, 1.0) if wide else np.ones(d)
    return scaled.Basis(problem, root, np.zeros(d), 1.0)
