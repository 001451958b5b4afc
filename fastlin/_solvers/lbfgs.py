"""L-BFGS: a quasi-Newton method that remembers a few gradients (Liu & Nocedal 1989).

SciPy's calls BLAS for vectors and for matrices of 10 rows. Under load its idle threads keep the cores from those that
work, a fork while one works can hang, and sums over long vectors depend on their number. Here NumPy and our own kernels
do it: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastlin._check import MOST_STEPS, Array
from fastlin._solvers.linalg import Means
from fastlin._solvers.memory import Memory, point_of, point_values
from fastlin._solvers.pairs import Pairs
from fastlin._solvers.problem import KEPT, Point
from fastlin._solvers.vectors import HERE, dot, moved

FRAME = "lbfgs"  # in checkpoints

FALL, FLATTER = 1e-4, 0.9  # Wolfe's conditions: a step lowers the loss by a share of the slope, and flattens the slope
TRIALS = 40  # of the length of a step
FURTHEST = 100.0  # times the length before
EPS = float(np.finfo(np.float64).eps)
STEEP = 20.0  # a squared gradient of so many roundings of the value, where no step lowers it, is one of rounding


class Values(Protocol):
    """What is known of a function, such as a `Problem`."""

    @property
    def resolution(self) -> float:
        """Of its values, relative."""

    @property
    def kept(self) -> int:
        """The number of pairs that are worth their time."""

    @property
    def means(self) -> Means:
        """Who computes with long vectors."""

    def refine(self) -> bool:
        """Compute it with more digits from now on, if that is possible."""


class Float64:
    """A function of few numbers, in float64."""

    resolution, kept, means = EPS, KEPT, HERE

    def refine(self) -> bool:
        """There are no more digits."""
        return False


class Search(NamedTuple):
    """What `descend` goes by."""

    f: Callable[[Array], Point]
    slope_of: Callable[[Point], Array]  # the gradient at a point, or what stands for it
    step_from: Callable[[Point, Array, Pairs], Point | None]  # a lower point, by its slope; None if none is found
    values: Values


@np.errstate(all="ignore")  # a trial may be far away
def minimize(
    f: Callable[[Array], Point],
    here: Point,
    max_iter: int,
    tol: float,
    note: Callable[[float], object],
    values: Values | None = None,
    memory: Memory | None = None,
) -> tuple[Point, bool]:
    """The point at which f is lowest, from a start on, and whether rounding alone ended the search.

    It ends where no entry of the gradient is above tol, where no step lowers the value, or after max_iter steps.
    note : called with the value after each step.  memory : where it may go on from, and what it keeps.
    """
    values = values or Float64()
    search = Search(f, lambda here: here.gradient, partial(_step, f, values), values)
    return descend(search, here, max_iter, tol, note, memory or Memory())


def descend(
    search: Search, here: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """`minimize` with any gradient and any step along a direction of L-BFGS.

    here : the start; where `memory` goes on, its x alone is looked at, for its size.
    """
    f, slope_of, step_from, values = search
    size, done = len(here.x), 0
    pairs = Pairs(values.kept, size, values.means)
    if (state := memory.state) is not None:
        here = point_of(state, FRAME, size)
        pairs.restore(state, FRAME)
        done = state.count(f"{FRAME}.done", MOST_STEPS)
        memory.settle()
    while done < max_iter:
        slope = slope_of(here)
        there = None if here.steepest <= tol else step_from(here, slope, pairs)
        if there is None and values.refine():
            here = f(here.x)
            continue
        if here.steepest <= tol:
            break
        if there is None and pairs:
            pairs.clear()  # they mislead: begin anew, along the slope
            there = step_from(here, slope, pairs)
        if there is None:
            return here, dot(slope, slope, values.means) <= STEEP * values.resolution * abs(here.value)
        pairs.remember((there.x, here.x), (there.gradient, here.gradient))
        here, done = there, done + 1
        note(here.value)
        memory.step(FRAME, partial(_frame, here, pairs.frame() if memory.writes else {}, done))
    return here, False


def _frame(here: Point, pairs: dict[str, Any], done: int) -> dict[str, Any]:
    """What a checkpoint has of it."""
    return {**point_values(here), **pairs, "pairs": pairs["pairs"].copy(), "done": done}


def _step(f: Callable[[Array], Point], values: Values, here: Point, gradient: Array, pairs: Pairs) -> Point | None:
    """A point along the direction of L-BFGS that meets Wolfe's conditions; None if none is found.

    The length first grows until it is too long, then the bracket is cut by cubic interpolation.
    """
    direction = pairs.direction(gradient)
    slope = dot(gradient, direction, values.means)
    if not -slope > values.resolution * abs(here.value):  # a step promises nothing that the value could show
        return None
    length = 1.0 if pairs else min(1.0, 1.0 / np.sqrt(dot(gradient, gradient, values.means)))
    short, long = (0.0, here.value, slope), None  # (length, value, slope) of trials on either side
    for _ in range(TRIALS):
        there = f(moved(here.x, length, direction, values.means))
        trial = length, there.value, dot(there.gradient, direction, values.means)
        if not there.value <= here.value + FALL * length * slope or not there.value < here.value:
            long = trial
        elif trial[2] < FLATTER * slope:
            short = trial
        else:
            return there
        length = _longer(length, slope, trial[2]) if long is None else _between(short, long)
    return None


def _longer(length: float, slope: float, there: float) -> float:
    """Where the slope, which is `there` after this length, would be 0 if it changed evenly: 2 to 100 times as far."""
    times = slope / (slope - there) if slope < there else FURTHEST
    return length * min(FURTHEST, max(2.0, times))


def _between(short: tuple[float, float, float], long: tuple[float, float, float]) -> float:
    """The length at the minimum of the cubic through both trials, not close to either; else the middle."""
    (a, value_a, slope_a), (b, value_b, slope_b) = short, long
    width = b - a
    d1 = slope_a + slope_b - 3.0 * (value_b - value_a) / width
    d2 = np.sqrt(max(d1 * d1 - slope_a * slope_b, 0.0))
    found = b - width * (slope_b + d2 - d1) / (slope_b - slope_a + 2.0 * d2)
    inside = a + 0.1 * width <= found <= b - 0.1 * width
    return float(found) if inside else a + 0.5 * width
