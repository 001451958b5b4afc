"""OWL-QN: L-BFGS for a smooth function plus a weighted sum of absolute values (Andrew & Gao 2007).

A step stays in the orthant of the start of its search, and what would leave it becomes exactly 0. The columns are of
one scale and centred as in fastlin/_scaled.py, with l1 of each weight changed accordingly: the minimum is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fastlin import _scaled
from fastlin._check import MOST_STEPS, Array
from fastlin._lbfgs import FALL, FRAME, STEEP, direction_of, dot, frame, remember
from fastlin._memory import Memory, Pairs, pairs_of, point_of
from fastlin._problem import Point, Problem

HALVINGS = 40


@np.errstate(all="ignore")
def minimize(
    problem: Problem, start: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it; values and gradients have the absolute values."""
    own = _scaled.basis(problem, start.x)
    l1 = own.gradient(problem.l1)

    def at(z: Array) -> Point:
        smooth = problem.smooth_at(x := own.to_W(z))
        value = smooth.value + float((l1 * np.abs(z)).sum())
        slope = pseudo_gradient(x, smooth.gradient, problem.l1)
        return Point(z, value, own.gradient(smooth.gradient), float(np.abs(slope).max(initial=0.0)))

    pairs, done = Pairs(maxlen=problem.kept), 0
    if (state := memory.state) is None:
        here = at(own.of_W(start.x))
    else:
        here, pairs = point_of(state, FRAME, len(l1)), pairs_of(state, FRAME, len(l1), problem.kept)
        done = state.count(f"{FRAME}.done", MOST_STEPS)
        memory.settle()
    while done < max_iter:
        slope = pseudo_gradient(here.x, here.gradient, l1)
        there = None if here.steepest <= tol else _step(at, here, slope, pairs, problem.resolution)
        if there is None and problem.refine():
            here = at(here.x)
            continue
        if here.steepest <= tol:
            break
        if there is None and pairs:
            pairs.clear()  # they mislead: begin anew, along the slope
            there = _step(at, here, slope, pairs, problem.resolution)
        if there is None:
            return here._replace(x=own.to_W(here.x)), dot(slope, slope) <= STEEP * problem.resolution * abs(here.value)
        remember(pairs, there.x - here.x, there.gradient - here.gradient)
        here, done = there, done + 1
        note(here.value)
        memory.step(FRAME, partial(frame, here, tuple(pairs), done))
    return here._replace(x=own.to_W(here.x)), False


def pseudo_gradient(x: Array, gradient: Array, l1: Array) -> Array:
    """The subgradient of smallest size of the function plus sum(l1 |x|)."""
    found: Array = gradient - np.clip(gradient, -l1, l1)
    some = np.flatnonzero(x)  # few of them: np.where takes three times as long
    found[some] = gradient[some] + np.copysign(l1[some], x[some])
    return found


def _step(at: Callable[[Array], Point], here: Point, slope: Array, pairs: Pairs, resolution: float) -> Point | None:
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
