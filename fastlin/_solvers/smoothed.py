"""Losses with kinks, by smooth ones that come ever closer: L-BFGS on each, from where the one before ended.

Of width w: a hinge is a parabola from 0 to w and a line of slope 1 beyond,

    h_w(v) = (max(v, 0)^2 - max(v - w, 0)^2) / (2 w),    h_w <= max(v, 0) <= h_w + w / 2,

so that the kernels of the squared hinges, with the margins m and m - w, give it (Chapelle 2007 smooths hinges so). An
absolute error is huber_w / w. The largest hinge of a row (Crammer & Singer), max_j v_j with v_j = s_j - s_y + margin
and v_y = 0, is smoothed by w log(sum_j exp(v_j / w) / c). A smooth loss is nowhere above the loss with kinks: the
difference of the two at the end bounds how much the smoothing costs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastlin import ops
from fastlin._check import MOST_STEPS, Array
from fastlin._solvers import lbfgs
from fastlin._solvers.memory import Memory, point_of, point_values
from fastlin._solvers.problem import Point, Problem, point
from fastlin.penalties import L2

FRAME = "smoothed"  # in checkpoints
SQUARED = {"svm": "squared_svm", "one_vs_rest_svm": "squared_one_vs_rest_svm"}
SMOOTHED = (*SQUARED, "crammer_singer_svm", "absolute_error")
NARROWER = 10.0  # times, from one width to the next
STEPS = 1000  # of L-BFGS, for a width
COSTS = 1e-7  # of the value, that the last smoothing may cost
SETTLED = 1e-6  # of the value, by which it falls from the last width but one to the last


def can(problem: Problem) -> bool:
    """Whether the loss is one of these, and the penalty one of squares."""
    name = problem.objective.loss.name
    here = problem.in_memory or name != "crammer_singer_svm"  # whose scores are needed, all at once
    return here and name in SMOOTHED and isinstance(problem.objective.penalty, L2 | None)


@np.errstate(all="ignore")
def minimize(
    problem: Problem, here: Point, max_iter: int, tol: float, note: Callable[[float], object], memory: Memory
) -> tuple[Point, bool]:
    """Where the last of at most max_iter widths led, and whether a narrower one would lower the loss no more."""
    width, flat, done = _first_width(problem, here), False, 0
    if (state := memory.state) is not None:
        here, width = point_of(state, FRAME, len(here.x)), state.number(f"{FRAME}.width")
        done = state.count(f"{FRAME}.done", MOST_STEPS)
        if not 0 < width < np.inf:
            raise ValueError(f"resume: the state's {FRAME}.width must be in (0, inf); found {width}")
    for count in range(done, max_iter):
        if here.steepest <= tol or flat or not np.isfinite(here.value):
            break
        memory.outer(FRAME, partial(_frame, here, width, count))
        smooth = _smooth(problem, width)
        start = here if memory.state is not None else smooth(here.x)  # L-BFGS goes on from a point of its own
        end, _ = lbfgs.minimize(smooth, start, STEPS, tol, lambda value: None, problem, memory)
        there = problem.at(end.x)
        cheap = there.value - end.value <= COSTS * abs(there.value)
        flat = cheap and here.value - there.value <= SETTLED * abs(there.value)
        if there.value < here.value:
            here = there
        problem.latest = here.x
        note(here.value)
        width /= NARROWER
    return here, flat


def _frame(here: Point, width: float, done: int) -> dict[str, Any]:
    return {**point_values(here), "width": float(width), "done": done}


def _first_width(problem: Problem, start: Point) -> float:
    """The margin, or the size of the errors at the start."""
    if problem.objective.loss.name != "absolute_error":
        return problem.objective.hyper[0] or 1.0
    return start.value / problem.W.shape[1] or 1.0


def _smooth(problem: Problem, width: float) -> Callable[[Array], Point]:
    """The smooth loss of this width, penalty included."""
    objective = problem.objective
    if objective.loss.name == "absolute_error":
        huber = objective._replace(loss=ops.LOSSES["huber"], hyper=(width,), penalty=_scaled(problem.l2 * width))
        return lambda x: _times(problem.of(huber, x), 1.0 / width)
    if objective.loss.name == "crammer_singer_svm":
        return lambda x: _largest_hinges(problem, width, x)
    (margin,), squared = objective.hyper, ops.LOSSES[SQUARED[objective.loss.name]]
    whole = objective._replace(loss=squared, penalty=_scaled(2.0 * width * problem.l2))
    beyond = objective._replace(loss=squared, hyper=(margin - width,), penalty=None)

    def at(x: Array) -> Point:
        a, b = problem.of(whole, x), problem.of(beyond, x)
        return point(x, (a.value - b.value) / (2.0 * width), (a.gradient - b.gradient) / (2.0 * width))

    return at


def _largest_hinges(problem: Problem, width: float, x: Array) -> Point:
    """Crammer and Singer's, smooth: a product for the scores, then one for the gradient."""
    (margin,), y, W = problem.objective.hyper, problem.inputs.y, x.reshape(problem.W.shape)
    (n, d), rows = problem.shape, np.arange(len(y))
    P = np.array(problem.scores(x), np.float64, order="C")
    own = P[rows, y]
    P -= own[:, None] - margin
    P[rows, y] = 0.0
    largest = P.max(axis=1)
    P -= largest[:, None]
    P /= width
    np.exp(P, out=P)
    total = P.sum(axis=1)
    value = float((problem.inputs.sample_weight * (largest + width * np.log(total / P.shape[1]))).sum()) / n
    P /= total[:, None]
    P[rows, y] -= 1.0
    gradient = problem.pulled_back(P).reshape(W.shape)
    gradient[:d] += 2.0 * problem.l2 * W[:d]
    return point(x, value + problem.l2 * float(np.square(W[:d]).sum()), gradient.ravel())


def _scaled(lam: float) -> L2 | None:
    return L2(lam) if lam else None


def _times(there: Point, factor: float) -> Point:
    return point(there.x, factor * there.value, factor * there.gradient)
