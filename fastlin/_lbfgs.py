"""L-BFGS: a quasi-Newton method that remembers a few gradients (Liu & Nocedal 1989).

SciPy's calls BLAS for vectors and for matrices of 10 rows. Under load its idle threads keep the cores from those that
work, a fork while one works can hang, and sums over long vectors depend on their number. Here NumPy alone does it:
the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from fastlin._check import MOST_STEPS, Array
from fastlin._memory import Memory, Pairs, pair_values, pairs_of, point_of, point_values
from fastlin._problem import KEPT, Point

FRAME = "lbfgs"  # in checkpoints

FALL, FLATTER = 1e-4, 0.9  # Wolfe's conditions: a step lowers the loss by a share of the slope, and flattens the slope
TRIALS = 40  # of the length of a step
EPS = float(np.finfo(np.float64).eps)
STEEP = 20.0  # a squared gradient of so many roundings of the value, where no step lowers it, is one of rounding


class Values(Protocol):
    """What is known of the values of a function, such as those of a `Problem`."""

    @property
    def resolution(self) -> float:
        """Of the values, relative."""

    @property
    def kept(self) -> int:
        """The number of pairs that are worth their time."""

    def refine(self) -> bool:
        """Compute with more digits from now on, if that is possible."""


class Float64:
    """Values of plain float64."""

    resolution, kept = EPS, KEPT

    def refine(self) -> bool:
        """There are no more digits."""
        return False


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
    memory, values, size, done = memory or Memory(), values or Float64(), len(here.x), 0
    pairs = Pairs(maxlen=values.kept)
    if (state := memory.state) is not None:
        here, pairs = point_of(state, FRAME, size), pairs_of(state, FRAME, size, values.kept)
        done = state.count(f"{FRAME}.done", MOST_STEPS)
        memory.settle()
    while done < max_iter:
        there = None if here.steepest <= tol else _step(f, here, pairs, values.resolution)
        if there is None and values.refine():
            here = f(here.x)
            continue
        if here.steepest <= tol:
            break
        if there is None and pairs:
            pairs.clear()  # they mislead: begin anew, along the gradient
            there = _step(f, here, pairs, values.resolution)
        if there is None:
            return here, dot(here.gradient, here.gradient) <= STEEP * values.resolution * abs(here.value)
        remember(pairs, there.x - here.x, there.gradient - here.gradient)
        here, done = there, done + 1
        note(here.value)
        memory.step(FRAME, partial(frame, here, tuple(pairs), done))
    return here, False


def remember(pairs: Pairs, step: Array, change: Array) -> None:
    """One more pair, if the function curves upwards along it."""
    if (curvature := dot(step, change)) > 0:
        pairs.append((step, change, 1.0 / curvature))


def frame(here: Point, pairs: tuple[tuple[Array, Array, float], ...], done: int) -> dict[str, Any]:
    """What a checkpoint has of it."""
    return {**point_values(here), **pair_values(pairs, len(here.x)), "done": done}


def _step(f: Callable[[Array], Point], here: Point, pairs: Pairs, resolution: float) -> Point | None:
    """A point along the direction of L-BFGS that meets Wolfe's conditions; None if none is found.

    The length is first doubled until it is too long, then the bracket is cut by cubic interpolation.
    """
    direction = direction_of(here.gradient, pairs)
    slope = dot(here.gradient, direction)
    if not -slope > resolution * abs(here.value):  # a step promises nothing that the value could show
        return None
    length = 1.0 if pairs else min(1.0, 1.0 / np.sqrt(dot(here.gradient, here.gradient)))
    short, long = (0.0, here.value, slope), None  # (length, value, slope) of trials on either side
    for _ in range(TRIALS):
        x = here.x + length * direction
        there = f(x)
        trial = length, there.value, dot(there.gradient, direction)
        if not there.value <= here.value + FALL * length * slope or not there.value < here.value:
            long = trial
        elif trial[2] < FLATTER * slope:
            short = trial
        else:
            return there
        length = 2.0 * length if long is None else _between(short, long)
    return None


def direction_of(gradient: Array, pairs: Pairs) -> Array:
    """-H gradient, where H is the inverse Hessian that the pairs suggest: the recursion of two loops."""
    direction, shares = -gradient, []
    for step, change, scale in reversed(pairs):
        share = scale * dot(step, direction)
        shares.append(share)
        direction -= share * change
    if pairs:
        _, change, scale = pairs[-1]
        direction *= 1.0 / (scale * dot(change, change))
    for (step, change, scale), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - scale * dot(change, direction)) * step
    return direction


def _between(short: tuple[float, float, float], long: tuple[float, float, float]) -> float:
    """The length at the minimum of the cubic through both trials, not close to either; else the middle."""
    (a, value_a, slope_a), (b, value_b, slope_b) = short, long
    width = b - a
    d1 = slope_a + slope_b - 3.0 * (value_b - value_a) / width
    d2 = np.sqrt(max(d1 * d1 - slope_a * slope_b, 0.0))
    found = b - width * (slope_b + d2 - d1) / (slope_b - slope_a + 2.0 * d2)
    inside = a + 0.1 * width <= found <= b - 0.1 * width
    return float(found) if inside else a + 0.5 * width


def dot(a: Array, b: Array) -> float:
    """Their inner product, without BLAS."""
    return float((a * b).sum())
