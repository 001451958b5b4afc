"""Searching for W without a gradient: the lectures' strategies #1 and #2, to see what a gradient is worth.

A loss alone needs half the arithmetic of a loss with its gradient, and one pass over X serves many candidates:
fastlin/_search.py. The candidates come from NumPy's generator, one after the other: the same for any backend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _plan, _search
from fastlin._check import Array, Inputs
from fastlin._extras import progress_bar
from fastlin._laps import laps
from fastlin._objective import Objective, make_objective, start_weights, with_defaults
from fastlin.penalties import Penalty
from fastlin.train import TrainResult

DRAW_BYTES = 32  # a normal number takes as long as a pass over these


@dataclass
class SearchResult(TrainResult):
    """What a search returns: the best W, its loss, and in .history "loss" of every try and "best" until then."""

    loss: float = float("inf")


@np.errstate(all="ignore")  # W that are drawn too large have scores and losses that follow IEEE's rules
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
    y, loss, reg, bias, backend, threads, hyper : as in `train`.
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
    objective = make_objective(loss, with_defaults(loss, hyper, "random_search"), reg, bias, backend, threads)
    show = _check.flag("progress", progress)
    inputs = _inputs(objective, X, y, None)
    _check.held("scale", scale, inputs.W.dtype)
    shape, dtype = inputs.W.shape, inputs.W.dtype
    best = SearchResult(inputs.W, objective.bias, loss_name=loss)
    losses: list[float] = []
    trial = _search.Trial(objective, inputs)
    draws = _Draws(rng, tries, shape, scale, dtype, trial.cut.group)
    with progress_bar("tries", show, tries) as advance:
        while len(W := draws.drawn):
            values = objective.values(trial.losses(W, draws.draw), inputs, W)
            losses += values.tolist()
            i = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
            if values[i] < best.loss:
                best.loss, best.W = float(values[i]), np.array(W[i], order="F")
            for _ in W:
                advance(f"best loss {best.loss:.4g}")
    best.history = {"loss": losses, "best": np.fmin.accumulate(losses).tolist()}
    return best


@np.errstate(all="ignore")
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
    objective = make_objective(loss, with_defaults(loss, hyper, "random_local_search"), reg, bias, backend, threads)
    show = _check.flag("progress", progress)
    inputs = _inputs(objective, X, y, W)
    _check.held("scale", scale, inputs.W.dtype)
    _check.held("step", step, inputs.W.dtype)
    shape, dtype = inputs.W.shape, inputs.W.dtype
    here = inputs.W if W is not None else (scale * rng.standard_normal(shape)).astype(dtype)
    dW = np.empty_like(here)

    def value(W: Array) -> float:
        """By the kernel that gives the gradient too: one W alone keeps no thread busy."""
        return objective.at(inputs._replace(W=W), None, inputs.X.shape[0], dW)[0]

    best = SearchResult(here, objective.bias, loss=value(here), loss_name=loss)
    losses = [best.loss]
    draws = _Draws(rng, tries, shape, step, dtype)
    with progress_bar("tries", show, tries) as advance:
        while len(steps := draws.drawn):
            draws.draw()
            for some in steps:
                there = best.W + some
                losses.append(value(there))
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
        self.drawn = np.empty((some, *self._shape), self._dtype)
        entries = self.drawn.reshape(-1)
        for part in laps(entries.size, DRAW_BYTES):
            drawn = self._rng.standard_normal(part.stop - part.start)
            drawn *= self._scale
            entries[part] = drawn


def _inputs(objective: Objective, X: ArrayLike, y: ArrayLike, W: ArrayLike | None) -> Inputs:
    """The checked arrays; their W says how W is shaped."""
    rows = _check.array("X", X, 2)
    return objective.inputs(start_weights(objective.loss.name, W, rows, y, objective.bias), rows, y)
