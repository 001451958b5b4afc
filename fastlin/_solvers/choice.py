"""Which solver fits what, and what is common to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastlin._check import Array
from fastlin._extras import need
from fastlin._solvers import lbfgs, newton, newton_cholesky, owlqn, scaled, smoothed, whitened
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import MEAN_SECOND, Point, Problem, point
from fastlin.train import Solved

Note = Callable[[float], object]


class Stopped(Exception):  # noqa: N818  (it is no error)
    """`note` raises it where the fit is to stop."""


def _lbfgs_of(problem: Problem, start: Point, most: int, tol: float, note: Note, memory: Memory) -> tuple[Point, bool]:
    return lbfgs.minimize(problem.at, start, most, tol, note, problem, memory)


SCIPYS = {"bfgs": "BFGS", "cg": "CG"}
OURS = {
    "lbfgs": _lbfgs_of,
    "whitened-lbfgs": whitened.minimize,
    "scaled-lbfgs": scaled.minimize,
    "newton-cg": newton.minimize,
    "newton-cholesky": newton_cholesky.minimize,
    "owlqn": owlqn.minimize,
    "smoothed": smoothed.minimize,
}
SOLVERS = (*OURS, *SCIPYS)
MOST_ITERATIONS = {"newton-cg": 100, "newton-cholesky": 100, "owlqn": 5000, "smoothed": 12}  # else 1000

QUASI = ("lbfgs", "whitened-lbfgs", "scaled-lbfgs", "owlqn")  # their steps need few digits until near the end
CURVED = ("newton-cg", "newton-cholesky")  # need second derivatives
WHITENING = 3  # passes over X that it may cost to make the columns white
WHITENING_UNEVEN = 30  # where some columns are far larger than most
UNEVEN = 10.0  # the root mean square of such a column, divided by the median of the standard deviations
ROWS = 100  # that tell it
DENSE = 1 << 27  # numbers, 1 GB, that sparse rows may become at most
FREE = 5_000_000  # flops of a basis that take no time worth speaking of


def solve(
    problem: Problem, solver: str, max_iter: int | None, tol: float, memory: Memory, note: Note | None = None
) -> tuple[Array, Solved]:
    """The x that a solver finds, and how it ended; `memory.losses` and `note` get each value, the start's first."""
    chosen = choose(problem) if solver == "auto" else solver
    most = MOST_ITERATIONS.get(chosen, 1000) if max_iter is None else max_iter

    def keep(value: float) -> None:
        memory.losses.append(value)
        if note is not None:
            note(value)

    if chosen in CURVED and not problem.curved:
        raise ValueError(
            f"solver {chosen!r} needs a second derivative, and no L1: {problem.objective.loss.name} with this penalty "
            "has none; pass solver='auto'"
        )
    if chosen == "newton-cholesky" and problem.start.size > newton_cholesky.MOST:
        raise ValueError(
            f"solver 'newton-cholesky' is for at most {newton_cholesky.MOST} weights, whose Hessian is a matrix of "
            f"their square; found {problem.start.size}: pass solver='auto'"
        )
    if chosen == "smoothed" and not smoothed.can(problem):
        raise ValueError(
            f"solver 'smoothed' is for {', '.join(smoothed.SMOOTHED)}, with a penalty of squares or none; found "
            f"{problem.objective.loss.name}: pass solver='auto'"
        )
    if chosen == "newton-cholesky" and not newton_cholesky.can(problem):
        raise ValueError("solver 'newton-cholesky' needs all rows as an array, not sparse: pass solver='auto'")
    if chosen == "whitened-lbfgs" and problem.sparse:
        _check_whitened(*problem.shape)
    problem.narrow = chosen in QUASI and problem.can_narrow
    memory.count = lambda: (problem.passes, problem.narrow)
    if memory.state is None:
        start = problem.at(problem.start)
        keep(start.value)
    else:  # solvers have a point of their own in it
        start = point(problem.start, math.nan, problem.start)
        problem.passes, narrow = memory.counted
        problem.narrow &= narrow
    stopped = False
    try:
        if chosen in SCIPYS and problem.start.size:  # SciPy's take no empty arrays
            end, flat = _scipys(problem, SCIPYS[chosen], most, tol, keep), False
        else:
            end, flat = OURS.get(chosen, _lbfgs_of)(problem, start, most, tol, keep, memory)
    except Stopped:
        end, flat, stopped = problem.at(problem.latest), False, True
    if problem.refine():  # what is said of the end has all digits
        end = problem.at(end.x)
    memory.close()
    count = len(memory.losses) - 1
    converged = bool(np.isfinite(end.value) and (flat or end.steepest <= tol))
    message = "a callback stopped it" if stopped else _message(chosen, end, converged, tol, count, most)
    return end.x, Solved(chosen, count, problem.passes, converged, end.steepest, message, stopped)


def _check_whitened(n: int, d: int) -> None:
    """The basis of sparse rows is made of some of them with all their zeros, and of matrices (d, d)."""
    numbers = min(n, whitened.ROWS * d) * d + 4 * d * d
    if numbers > DENSE:
        raise ValueError(
            f"solver 'whitened-lbfgs' would make dense matrices of {numbers:.1e} numbers of this sparse X, which has "
            f"{d} columns; pass solver='auto' or 'lbfgs'"
        )


def choose(problem: Problem) -> str:
    """The solver that "auto" takes: docs/solvers.md has the measurements."""
    if problem.l1.any():
        return "owlqn"
    if smoothed.can(problem):
        return "smoothed"
    if newton_cholesky.pays(problem):
        return "newton-cholesky"
    (n, d), c = problem.shape, problem.W.shape[1]
    rows = min(n, whitened.ROWS * d)
    flops = 2 * rows * d * d + 3 * d**3  # of a basis
    if problem.objective.loss.name not in MEAN_SECOND:
        return "lbfgs"
    passes = flops / (4 * max(1, problem.entries) * c)
    if flops <= FREE or passes <= WHITENING or (passes <= WHITENING_UNEVEN and _uneven(problem)):
        return "whitened-lbfgs"
    return "scaled-lbfgs" if problem.sparse else "lbfgs"


def _uneven(problem: Problem) -> bool:
    """Whether some columns are far larger than most, or lie far from 0."""
    if problem.sparse:
        return False
    _, variance, mean = problem.sample(ROWS).column_moments()
    known = variance[variance > 0]
    return bool(known.size and (variance + np.square(mean)).max() > UNEVEN**2 * np.median(known))


def _scipys(problem: Problem, method: str, most: int, tol: float, note: Note) -> Point:
    optimize = need("scipy.optimize", "scipy", "fastlin.minimize")

    def call(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
        note(float(intermediate_result.fun))

    options = {"maxiter": most, "gtol": tol}
    with np.errstate(all="ignore"):  # as in our own: Inf and NaN follow IEEE's rules without a warning
        found = optimize.minimize(
            lambda x: problem.at(x)[1:3], problem.start, jac=True, method=method, callback=call, options=options
        )
    return problem.at(found.x)


def _message(solver: str, end: Point, converged: bool, tol: float, count: int, most: int) -> str:
    """Why it stopped, and what to do where it did not converge."""
    if not np.isfinite(end.value):
        return f"the loss is {end.value}: X, y, sample_weight or W holds NaN, Inf or numbers that are too large"
    if end.steepest <= tol:
        return f"no entry of the gradient is larger than tol={tol:g}"
    if converged:
        return f"the loss falls no further, up to rounding; the largest entry of the gradient is {end.steepest:.1e}"
    if count < most:
        return (
            f"solver {solver!r} found no step that lowers the loss after {count} iterations, where the largest entry "
            f"of the gradient is {end.steepest:.1e}: the loss has kinks, or numbers of X differ too widely in size"
        )
    return (
        f"solver {solver!r} stopped after {count} iterations where the largest entry of the gradient is "
        f"{end.steepest:.1e}: pass a larger max_iter, a larger tol than {tol:g}, or more reg"
    )
