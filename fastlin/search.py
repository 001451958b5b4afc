"""Searching for W without a gradient: the lectures' strategies #1 and #2, to see what a gradient is worth.

A loss alone needs half the arithmetic of a loss with its gradient, and one pass over X serves many candidates:
fastlin/_search.py. The candidates come from NumPy's generator, one after the other: the same for any backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _plan, _search
from fastlin._check import Array, Inputs
from fastlin._check.csr import features
from fastlin._csr import Features
from fastlin._extras import progress_bar
from fastlin._laps import laps
from fastlin._objective import Objective, make_objective, start_weights, with_defaults
from fastlin.penalties import Penalty
from fastlin.train import TrainResult

DRAW_BYTES = 32  # a normal number takes as long as a pass over these


@dataclass
class SearchResult(TrainResult):
    """What a search returns: the best W, its loss, and in .history "loss" of every try and "best" until then.

    A local search has "here" too: the loss of the W from which the next step goes out.
    """

    loss: float = float("inf")


@np.errstate(all="ignore")  # W that are drawn too large have scores and losses that follow IEEE's rules
def random_search(
    X: Features,
    y: ArrayLike,
    *,
    loss: str = "svm",
    tries: int = 1000,
    scale: float | None = None,
    bounds: tuple[float, float] | None = None,
    target: float | None = None,
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
    X : (n, d), also sparse, as in `softmax_loss`, but no `fl.Parts`; not copied.
    y, loss, reg, bias, backend, threads, hyper : as in `train`.
    tries : how many W are drawn, at most.
    scale : the standard deviation of their entries; None is the slide's 1e-4.
    bounds : (low, high), finite, low < high: the range of the parameters. Their entries are drawn uniformly from it,
        in place of normal numbers; `scale` must be None then.
    target : stop as soon as a W has a loss of at most this; None never does.
    seed : of `numpy.random.default_rng(seed).standard_normal((d + 1, c))`, or with bounds `.uniform(low, high,
        (d + 1, c))`, called once for each try: the same W in every backend.
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
    tries, target = _check.count("tries", tries), _target(target)
    rng = np.random.default_rng(_check.count("seed", seed, 0))
    objective = make_objective(
        loss, with_defaults(loss, hyper, "random_search"), reg, bias, backend, threads
    ).for_targets(y)
    show = _check.flag("progress", progress)
    inputs = _inputs(objective, X, y, None)
    shape, dtype = inputs.W.shape, inputs.W.dtype
    numbers = _candidates(rng, scale, bounds, dtype)
    best = SearchResult(inputs.W, objective.bias, loss_name=loss)
    losses: list[float] = []
    trial = _search.trial(objective, inputs)
    draws = _Draws(numbers, tries, shape, dtype, trial.group)
    with progress_bar("tries", show, tries) as advance:
        while best.loss > target and len(W := draws.drawn):
            values = objective.values(trial.losses(W, draws.draw), inputs, W)
            enough = np.flatnonzero(values <= target)
            values = values[: enough[0] + 1] if len(enough) else values
            losses += values.tolist()
            i = int(np.argmin(np.where(np.isnan(values), np.inf, values)))
            if values[i] < best.loss:
                best.loss, best.W = float(values[i]), np.array(W[i], order="F")
            for _ in values:
                advance(f"best loss {best.loss:.4g}")
    best.history = {"loss": losses, "best": np.fmin.accumulate(losses).tolist()}
    return best


@np.errstate(all="ignore")
def random_local_search(
    X: Features,
    y: ArrayLike,
    *,
    loss: str = "svm",
    tries: int = 1000,
    scale: float = 1e-3,
    step: float = 1e-4,
    temperature: float = 0.0,
    target: float | None = None,
    reg: float | Penalty = 0.0,
    seed: int = 0,
    bias: bool = True,
    W: ArrayLike | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> SearchResult:
    """A random walk downhill (lecture "Loss functions and optimization", "random local search").

    W = scale * randn(d + 1, c); then, `tries` times, W <- W + step * randn(d + 1, c) if that lowers L(W). With a
    temperature a step that does not lower it is taken all the same with probability exp(-(rise of L) / temperature),
    to get out of a local minimum: the rule of Metropolis et al. (1953), Equation of State Calculations by Fast
    Computing Machines; for a search by Kirkpatrick et al. (1983), Optimization by Simulated Annealing.

    Parameters
    ----------
    scale : the standard deviation of the entries of the first W.
    step : the standard deviation of the entries of a step.
    temperature : the rise of the loss that is taken with probability 1/e; 0 takes none. The steps are the same numbers
        at any temperature; what is taken is drawn by `numpy.random.default_rng([seed, 1])`.
    W : where to start, not changed, instead of a random W.
    X, y, loss, tries, target, reg, seed, bias, progress, backend, threads, hyper : as in `random_search`.

    Returns
    -------
    SearchResult with the best W of the walk, wherever it ended; the first entry of its history is that of the start.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> random_local_search(X, [0, 0, 1, 1], step=0.1).predict(X)
    array([0, 0, 1, 1])
    """
    tries, target = _check.count("tries", tries), _target(target)
    scale, step = _check.number("scale", scale, "(0, inf)"), _check.number("step", step, "(0, inf)")
    temperature = _check.number("temperature", temperature, "[0, inf)")
    seed = _check.count("seed", seed, 0)
    rng, chances = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    objective = make_objective(
        loss, with_defaults(loss, hyper, "random_local_search"), reg, bias, backend, threads
    ).for_targets(y)
    show = _check.flag("progress", progress)
    inputs = _inputs(objective, X, y, W)
    _check.held("scale", scale, inputs.W.dtype)
    _check.held("step", step, inputs.W.dtype)
    shape, dtype = inputs.W.shape, inputs.W.dtype
    W_here = inputs.W if W is not None else (scale * rng.standard_normal(shape)).astype(dtype)
    dW = np.empty_like(W_here)

    def value(W: Array) -> float:
        """By the kernel that gives the gradient too: one W alone keeps no thread busy."""
        return objective.at(inputs._replace(W=W), None, inputs.X.shape[0], dW)[0]

    here = value(W_here)
    best = SearchResult(W_here, objective.bias, loss=here, loss_name=loss)
    losses, walk = [here], [here]
    draws = _Draws(_normal(rng, step), tries, shape, dtype)
    with progress_bar("tries", show, tries) as advance:
        for some in draws.each():
            if best.loss <= target:
                break
            there = W_here + some
            losses.append(value(there))
            if _accepted(losses[-1], here, temperature, chances):
                W_here, here = there, losses[-1]
            if here < best.loss:
                best.W, best.loss = W_here, here
            walk.append(here)
            advance(f"loss {best.loss:.4g}")
    best.history = {"loss": losses, "best": np.fmin.accumulate(losses).tolist(), "here": walk}
    return best


def _accepted(there: float, here: float, temperature: float, chances: np.random.Generator) -> bool:
    """Whether a walk goes on from `there`: Metropolis's rule; a NaN is never accepted."""
    if there < here or temperature == 0:
        return there < here
    return chances.random() < math.exp((here - there) / temperature)


def _target(target: float | None) -> float:
    """The loss at which a search stops; no loss is at most -Inf."""
    return -math.inf if target is None else _check.number("target", target, "[0, inf)")


def _candidates(
    rng: np.random.Generator, scale: float | None, bounds: Any, dtype: np.dtype[np.generic]
) -> Callable[[int], Array]:
    """What draws the entries of W for a random search."""
    if bounds is None:
        deviation = 1e-4 if scale is None else _check.number("scale", scale, "(0, inf)")
        _check.held("scale", deviation, dtype)
        return _normal(rng, deviation)
    if scale is not None:
        raise ValueError("scale is of normal numbers and bounds are of uniform ones; pass one of them")
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"bounds must be a pair (low, high); found {_check.kind(bounds)}")
    low, high = (_check.number(f"bounds[{i}]", bounds[i], "(-inf, inf)") for i in (0, 1))
    if not 0 < high - low < math.inf:
        raise ValueError(f"bounds must be (low, high) with low < high and a finite width; found {(low, high)}")
    _check.held("bounds[0]", low, dtype)
    _check.held("bounds[1]", high, dtype)
    return lambda count: rng.uniform(low, high, count)


def _normal(rng: np.random.Generator, scale: float) -> Callable[[int], Array]:
    """What draws normal numbers of this standard deviation."""

    def draw(count: int) -> Array:
        drawn = rng.standard_normal(count)
        drawn *= scale
        return drawn

    return draw


class _Draws:
    """`count` arrays of random numbers, some at a time: the same numbers as one after the other."""

    def __init__(
        self,
        numbers: Callable[[int], Array],
        count: int,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        group: int = 1,
    ) -> None:
        self._numbers, self._left, self._shape, self._dtype = numbers, count, shape, dtype
        self._most = _plan.search_draws(math.prod(shape), group)
        self.draw()

    def draw(self) -> None:
        """The next ones; none when all have been drawn."""
        some = min(self._left, self._most)
        self._left -= some
        self.drawn = np.empty((some, *self._shape), self._dtype)
        entries = self.drawn.reshape(-1)
        for part in laps(entries.size, DRAW_BYTES):
            entries[part] = self._numbers(part.stop - part.start)

    def each(self) -> Iterator[Array]:
        """One after the other."""
        while len(self.drawn):
            yield from self.drawn
            self.draw()


def _inputs(objective: Objective, X: Features, y: ArrayLike, W: ArrayLike | None) -> Inputs:
    """The checked arrays; their W says how W is shaped."""
    rows = features(X)
    return objective.inputs(start_weights(objective.loss.name, W, rows, y, objective.bias), rows, y)
