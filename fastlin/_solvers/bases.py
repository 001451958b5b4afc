"""L-BFGS in one change of basis after the other, each made at the curvature of the W that the one before led to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastlin._check import MOST_STEPS, Array
from fastlin._solvers import lbfgs
from fastlin._solvers.memory import Memory, point_of, point_values
from fastlin._solvers.problem import Point, Problem

LONGER = 3  # times as many iterations as in the basis before


class Basis(Protocol):
    """V instead of W, all flat."""

    def to_W(self, v: Array) -> Array:
        """x of V."""

    def of_W(self, x: Array) -> Array:
        """V of x."""

    def gradient(self, gradient: Array) -> Array:
        """The gradient in V, of that in W."""


class Bases(NamedTuple):
    """How they are made: the basis at an x, the number of iterations in the first, and a name in checkpoints."""

    at: Callable[[Problem, Array], Basis]
    first: int
    frame: str


def minimize(
    problem: Problem,
    here: Point,
    bases: Bases,
    max_iter: int,
    tol: float,
    note: Callable[[float], object],
    memory: Memory,
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it."""
    done, stage, flat, moved = 0, bases.first, False, True
    if (state := memory.state) is not None:
        here = point_of(state, bases.frame, len(here.x))
        done, stage = (state.count(f"{bases.frame}.{name}", MOST_STEPS) for name in ("done", "stage"))
        flat = state.count(f"{bases.frame}.flat", 1) == 1
    while done < max_iter and moved and not flat and np.isfinite(here.value):
        if here.steepest <= tol:
            if not problem.refine():
                break
            here = problem.at(here.x)
            continue
        count = min(stage, max_iter - done)
        memory.outer(bases.frame, partial(_frame, here, done, stage, flat))
        here, flat, moved = _in_one(problem, here, bases.at(problem, here.x), count, tol, note, memory)
        done, stage = done + count, stage * LONGER
    memory.outer(bases.frame, partial(_frame, here, done, stage, flat))
    return here, flat


def _frame(here: Point, done: int, stage: int, flat: bool) -> dict[str, Any]:
    return {**point_values(here), "done": done, "stage": stage, "flat": int(flat)}


def _in_one(
    problem: Problem,
    here: Point,
    basis: Basis,
    count: int,
    tol: float,
    note: Callable[[float], object],
    memory: Memory,
) -> tuple[Point, bool, bool]:
    """Where so many iterations lead, whether rounding ended them, and whether there was a step at all."""

    def moved(there: Point, v: Array) -> Point:
        return there._replace(x=v, gradient=basis.gradient(there.gradient))

    start = moved(here, basis.of_W(here.x))
    end, flat = lbfgs.minimize(lambda v: moved(problem.at(basis.to_W(v)), v), start, count, tol, note, problem, memory)
    return (here, flat, False) if end is start else (problem.at(basis.to_W(end.x)), flat, True)
