"""One epoch: every row once, in batches. What is checked is checked before; nothing here looks at it again."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from fastlin import _run
from fastlin._affine import Affine
from fastlin._check import Array, Problem
from fastlin.penalties import Penalty


class Steps(Protocol):
    """What an epoch asks of an optimizer."""

    def step(self, W: Array, dW: Array) -> None:
        """Change W in place."""


class Objective(NamedTuple):
    """What is minimised, checked and with every default filled in."""

    loss: str
    hyper: tuple[float, ...]
    penalty: Penalty | None
    features: Affine | None
    bias: bool
    backend: str
    threads: int | None


class Average:
    """A mean of the weights after each step, in float64.

    decay None: of all of them (Polyak & Juditsky 1992). Else an exponential moving average, which starts at the
    first: A <- decay A + (1 - decay) W.
    """

    def __init__(self, decay: float | None) -> None:
        self.decay = decay
        self.t = 0
        self.mean: Array | None = None

    def add(self, W: Array) -> None:
        """Take in the weights after one more step."""
        self.t += 1
        if self.mean is None:
            self.mean = W.astype(np.float64, order="F")
        else:
            self.mean += (W - self.mean) * (1.0 / self.t if self.decay is None else 1.0 - self.decay)


@np.errstate(all="ignore")  # a rate that is too high ends in Inf and NaN, and they take IEEE's course
def run_epoch(
    W: Array,
    X: Array,
    y: Array,
    sample_weight: Array,
    order: Array,
    batch_size: int,
    objective: Objective,
    optimizer: Steps,
    average: Average | None = None,
) -> float:
    """One step for each batch of `order`; the mean over the rows of the loss that their batch had, penalty included.

    W : (d, c), or (d + 1, c) with bias, overwritten.
    X : (n, d).  y : (n,) int32 in [0, c).  sample_weight : (n,) of W's dtype.  order : some of the rows, in turn.
    """
    dW = np.empty_like(W)
    total = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        weight = sample_weight[batch]
        weight.flags.writeable = False  # one type for Numba, as in fastlin/_check.py
        total += len(batch) * _loss_grad(objective, Problem(W, X[batch], y[batch], weight), dW)
        optimizer.step(W, dW)
        if average is not None:
            average.add(W)
    return total / len(order)


def _loss_grad(objective: Objective, problem: Problem, dW: Array) -> float:
    """The mean loss of a batch, penalty included; its gradient is written to dW."""
    loss, hyper, penalty, features, bias, backend, threads = objective
    W, rows, d = problem.W, len(problem.y), problem.X.shape[1]
    if features is None:
        total = _run.loss_grad(_run.Call(loss, hyper, problem, 1.0 / rows, backend, threads), dW)
    else:
        folded = problem._replace(W=features.fold(W, bias))
        gradient = np.empty_like(folded.W)
        total = _run.loss_grad(_run.Call(loss, hyper, folded, 1.0 / rows, backend, threads), gradient)
        features.unfold(gradient, dW, bias)
    if penalty is None:
        return total / rows
    dW[:d] += penalty.gradient(W[:d])
    return total / rows + penalty.value(W[:d])
