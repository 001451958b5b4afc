"""Searching for W without a gradient: the lectures' strategies #1 and #2, to see what a gradient is worth.

A loss alone needs half the arithmetic of a loss with its gradient, and one pass over X serves many candidates:
fastlin/_search.py. The candidates come from NumPy's generator, one after the other: the same for any backend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _plan, _run, _search, ops
from fastlin._check import Array, Problem
from fastlin._extras import progress_bar
from fastlin.penalties import Penalty, penalty
from fastlin.train import TrainResult, hyper_values, start_weights


@dataclass
class SearchResult(TrainResult):
    """What a search returns: the best W, its loss, and in .history "loss" of every try and "best" until then."""

    loss: float = float("inf")


class Goal(NamedTuple):
    """What is searched for: all that is checked before the first try."""

    loss: str
    hyper: tuple[float, ...]
    problem: Problem
    penalty: Penalty | None
    bias: bool
    backend: str
    threads: int | None

    def values(self, sums: Array, W: Array) -> Array:
        """The mean loss, penalty included, of each of the weights W (k, d, c), whose sums of losses these are."""
        values: Array = sums / len(self.problem.X)
        if self.penalty is not None:
            values += [self.penalty.value(w[: self.problem.X.shape[1]]) for w in W]
        return values

    def value(self, W: Array, dW: Array) -> float:
        """That of one W (d, c): by the kernels that give the gradient too, for one W alone keeps no thread busy."""
        problem = self.problem._replace(W=W)
        total = _run.loss_grad(self.loss, self.hyper, problem, 1.0, self.backend, self.threads, dW)
        return float(self.values(np.array([total]), W[None])[0])


def random_search(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "svm",
    tries: int = 1000,
    scale: float = 1e-4,
    reg: float | Penalty = 0.0,
    seed: int = 0,
    bias: bool = True,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> SearchResult:
    """The best of `tries` random W (lecture 3, "Strategy #1: a first very bad idea solution: random search").

    W = scale * randn(d + 1, c), as the slide has it; the one of the lowest loss L(W) is kept.

    Parameters
    ----------
    X : (n, d) float32, float64 or integers.
    y : (n,) integers in [0, c).
    loss, reg, bias, backend, threads, hyper : as in `train`.
    tries : how many W are drawn.
    scale : the standard deviation of their entries.
    seed : of `numpy.random.default_rng(seed).standard_normal((d + 1, c))`, called once for each try: the same W in
        every backend.
    progress : show a bar (needs `fastlin[progress]`).

    Returns
    -------
    SearchResult with .W, .loss, .history, .predict(X) and .accuracy(X, y).

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> random_search(X, [0, 0, 1, 1], tries=100, scale=1.0).predict(X)
    array([0, 0, 1, 1])
    """
    tries, scale = _check.count("tries", tries), _check.number("scale", scale, "(0, inf)")
    rng = np.random.default_rng(_check.count("seed", seed, 0))
    goal = _goal(X, y, loss, reg, bias, backend, threads, hyper)
    shape, dtype = goal.problem.W.shape, goal.problem.W.dtype
    best = SearchResult(goal.problem.W, bias)
    losses: list[float] = []
    trial = _search.Trial(goal.loss, goal.hyper, goal.problem, goal.backend, threads)
    draws = _Draws(rng, tries, shape, scale, dtype, trial.cut.group)
    with progress_bar("tries", progress, tries) as advance:
        while len(W := draws.drawn):
            values = goal.values(trial.losses(W, draws.draw), W)
            losses += values.tolist()
            i = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
            if values[i] < best.loss:
                best.loss, best.W = float(values[i]), np.array(W[i], order="F")
            for _ in W:
                advance(f"best loss {best.loss:.4g}")
    best.history = {"loss": losses, "best": np.fmin.accumulate(losses).tolist()}
    return best


def random_local_search(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "svm",
    tries: int = 1000,
    scale: float = 1e-3,
    step: float = 1e-4,
    reg: float | Penalty = 0.0,
    seed: int = 0,
    bias: bool = True,
    W: ArrayLike | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> SearchResult:
    """A random walk that only goes downhill (lecture "Loss functions and optimization", "random local search").

    W = scale * randn(d + 1, c); then, `tries` times, W <- W + step * randn(d + 1, c) if that lowers L(W).

    Parameters
    ----------
    step : the standard deviation of the entries of a step.
    W : where to start, not changed, instead of a random W.
    X, y, loss, tries, scale, reg, seed, bias, progress, backend, threads, hyper : as in `random_search`.

    Returns
    -------
    SearchResult; the first entry of its history is that of the start.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> random_local_search(X, [0, 0, 1, 1], step=0.1).predict(X)
    array([0, 0, 1, 1])
    """
    tries, scale = _check.count("tries", tries), _check.number("scale", scale, "(0, inf)")
    step = _check.number("step", step, "(0, inf)")
    rng = np.random.default_rng(_check.count("seed", seed, 0))
    goal = _goal(X, y, loss, reg, bias, backend, threads, hyper, W)
    shape, dtype = goal.problem.W.shape, goal.problem.W.dtype
    here = goal.problem.W if W is not None else (scale * rng.standard_normal(shape)).astype(dtype)
    dW = np.empty_like(here)
    best = SearchResult(here, bias, loss=goal.value(here, dW))
    losses = [best.loss]
    draws = _Draws(rng, tries, shape, step, dtype)
    with progress_bar("tries", progress, tries) as advance:
        while len(steps := draws.drawn):
            draws.draw()
            for some in steps:
                there = best.W + some
                losses.append(goal.value(there, dW))
                if losses[-1] < best.loss:
                    best.loss, best.W = losses[-1], there
                advance(f"loss {best.loss:.4g}")
    best.history = {"loss": losses, "best": np.fmin.accumulate(losses).tolist()}
    return best


class _Draws:
    """`count` arrays of normal numbers, some at a time: the same numbers as one after the other."""

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        shape: tuple[int, ...],
        scale: float,
        dtype: np.dtype[np.generic],
        group: int = 1,
    ) -> None:
        self._rng, self._left, self._shape, self._scale, self._dtype = rng, count, shape, scale, dtype
        self._most = _plan.search_draws(math.prod(shape), group)
        self.draw()

    def draw(self) -> None:
        """The next ones; none when all have been drawn."""
        some = min(self._left, self._most)
        self._left -= some
        drawn: Array = self._rng.standard_normal((some, *self._shape))
        drawn *= self._scale
        self.drawn = drawn.astype(self._dtype, copy=False)


def _goal(
    X: ArrayLike,
    y: ArrayLike,
    loss: str,
    reg: float | Penalty,
    bias: bool,
    backend: str | None,
    threads: int | None,
    hyper: dict[str, float],
    W: ArrayLike | None = None,
) -> Goal:
    """Everything checked, with every default filled in; the problem's W says how W is shaped."""
    values = hyper_values(loss, hyper)
    X = _check.array("X", X, 2)
    start = start_weights(W, X, y, bias)
    problem = _check.problem(start, X, y, bias, None, ops.OPS[f"{loss}_epilogue"].targets)
    if not len(X):
        raise ValueError("X has 0 rows; there must be at least one")
    return Goal(loss, values, problem, penalty(reg), bias, ops.resolve(backend), threads)
