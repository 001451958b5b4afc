"""Newton's method whose linear systems are solved by conjugate gradients, with products of the Hessian alone.

Nocedal & Wright, Numerical Optimization, 2nd edition, algorithm 7.1 ("line search Newton-CG").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastlin._check import MOST_STEPS, Array
from fastlin._solvers.lbfgs import EPS, FALL, STEEP
from fastlin._solvers.memory import Memory, point_of, point_values
from fastlin._solvers.problem import Point, Problem, Product
from fastlin._solvers.vectors import dot

FRAME = "newton"  # in checkpoints
HALVINGS = 40  # of a step
MOST_PRODUCTS = 500  # of an iteration


@np.errstate(all="ignore")
def minimize(
    problem: Problem,
    here: Point,
    max_iter: int,
    tol: float,
    note: Callable[[float], object],
    memory: Memory,
    inverse: Product | None = None,
) -> tuple[Point, bool]:
    """Where the search ended, and whether rounding alone ended it.

    inverse : the product with an approximation of the inverse Hessian, the preconditioner.
    """
    first = float(np.sqrt(dot(here.gradient, here.gradient)))
    if memory.state is not None:
        first = memory.state.number(f"{FRAME}.first")

    def direction(here: Point) -> Array:
        size = np.sqrt(dot(here.gradient, here.gradient))
        return solve(problem.product(here.x), -here.gradient, min(0.25, np.sqrt(size / first)) * size, inverse)

    return steps(problem, here, max_iter, tol, note, memory, direction, first)


@np.errstate(all="ignore")
def steps(
    problem: Problem,
    here: Point,
    max_iter: int,
    tol: float,
    note: Callable[[float], object],
    memory: Memory,
    direction: Callable[[Point], Array],
    first: float = 0.0,
) -> tuple[Point, bool]:
    """Where steps in these directions lead, and whether rounding alone ended them.

    first : kept in checkpoints for `direction`, the length of the first gradient.
    """
    done = 0
    if (state := memory.state) is not None:
        here, first = point_of(state, FRAME, len(here.x)), state.number(f"{FRAME}.first")
        done = state.count(f"{FRAME}.done", MOST_STEPS)
        memory.settle()
    for count in range(done, max_iter):
        if here.steepest <= tol or not np.isfinite(here.value):
            break
        there = _along(problem, here, direction(here))
        if there is None:
            return here, dot(here.gradient, here.gradient) <= STEEP * problem.resolution * abs(here.value)
        here = there
        note(here.value)
        memory.step(FRAME, partial(_frame, here, first, count + 1))
    return here, False


def _frame(here: Point, first: float, done: int) -> dict[str, Any]:
    return {**point_values(here), "first": first, "done": done}


def _along(problem: Problem, here: Point, direction: Array) -> Point | None:
    """A lower point in this direction: the whole step, or a half of it, or a half of that ..."""
    slope, length = dot(here.gradient, direction), 1.0
    size, rounding = dot(here.gradient, here.gradient), problem.resolution * abs(here.value)
    for _ in range(HALVINGS):
        there = problem.at(here.x + length * direction)
        if there.value <= here.value + FALL * length * slope and there.value < here.value:
            return there
        if there.value <= here.value + rounding and dot(there.gradient, there.gradient) < size / 4:
            return there  # the value tells nothing any more, but the gradient does
        if -length * slope <= rounding:
            return None
        length /= 2
    return None


def solve(product: Product, b: Array, enough: float, inverse: Product | None) -> Array:
    """An x with ||A x - b|| <= enough, for the positive definite A of `product`; where A is flat, what was reached."""
    x, residual = np.zeros_like(b), b.copy()
    z = residual if inverse is None else inverse(residual)
    p, rz = z.copy(), dot(residual, z)
    for step in range(MOST_PRODUCTS):
        Ap = product(p)
        curvature = dot(p, Ap)
        if curvature <= EPS * dot(p, p):
            return x if step else z
        x += rz / curvature * p
        residual -= rz / curvature * Ap
        if dot(residual, residual) <= enough**2:
            break
        z = residual if inverse is None else inverse(residual)
        before, rz = rz, dot(residual, z)
        p = z + rz / before * p
    return x
