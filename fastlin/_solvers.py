"""Which solver fits what, and what is common to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlin import _lbfgs
from fastlin._check import Array
from fastlin._extras import need
from fastlin._problem import Point, Problem
from fastlin.train import Solved

Note = Callable[[float], object]
SCIPYS = {"bfgs": "BFGS", "cg": "CG"}
SOLVERS = ("lbfgs", *SCIPYS)
MOST_ITERATIONS = {"lbfgs": 1000, "bfgs": 1000, "cg": 1000}


def solve(problem: Problem, solver: str, max_iter: int | None, tol: float, note: Note) -> tuple[Array, Solved]:
    """The x that a solver finds, and how it ended; `note` gets the value of the start and of each iteration."""
    chosen = choose(problem) if solver == "auto" else solver
    most = MOST_ITERATIONS[chosen] if max_iter is None else max_iter
    count = -1

    def count_and_note(value: float) -> None:
        nonlocal count
        count += 1
        note(value)

    end, flat = _run(problem, chosen, most, tol, count_and_note)
    converged = bool(np.isfinite(end.value) and (flat or end.steepest <= tol))
    message = _message(chosen, end, converged, tol, count)
    return end.x, Solved(chosen, count, problem.passes, converged, end.steepest, message)


def choose(problem: Problem) -> str:
    """The solver that "auto" takes."""
    return "lbfgs"


def _run(problem: Problem, solver: str, most: int, tol: float, note: Note) -> tuple[Point, bool]:
    """Where the solver ended, and whether rounding lets the value fall no further."""
    if solver in SCIPYS and problem.start.size:  # SciPy's take no empty arrays
        return _scipys(problem, SCIPYS[solver], most, tol, note), False
    return _lbfgs.minimize(problem.at, problem.start, most, tol, note, problem.resolution)


def _scipys(problem: Problem, method: str, most: int, tol: float, note: Note) -> Point:
    optimize = need("scipy.optimize", "scipy", "fastlin.minimize")
    note(problem.at(problem.start).value)

    def call(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
        note(float(intermediate_result.fun))

    options = {"maxiter": most, "gtol": tol}
    with np.errstate(all="ignore"):  # as in our own: Inf and NaN follow IEEE's rules without a warning
        found = optimize.minimize(
            lambda x: problem.at(x)[1:], problem.start, jac=True, method=method, callback=call, options=options
        )
    return problem.at(found.x)


def _message(solver: str, end: Point, converged: bool, tol: float, count: int) -> str:
    """Why it stopped, and what to do where it did not converge."""
    if not np.isfinite(end.value):
        return f"the loss is {end.value}: X, y, sample_weight or W holds NaN, Inf or numbers that are too large"
    if end.steepest <= tol:
        return f"no entry of the gradient is larger than tol={tol:g}"
    if converged:
        return f"the loss falls no further, up to rounding; the largest entry of the gradient is {end.steepest:.1e}"
    return (
        f"solver {solver!r} stopped after {count} iterations where the largest entry of the gradient is "
        f"{end.steepest:.1e}: pass a larger max_iter, a larger tol than {tol:g}, or more reg"
    )
