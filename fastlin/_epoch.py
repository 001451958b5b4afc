"""One epoch: every row once, in batches. What is checked is checked before; nothing here looks at it again."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeGuard

import numpy as np

from fastlin import _check, _plan, _pool, _run, ops
from fastlin._affine import Affine
from fastlin._check import Array, Problem, walkable
from fastlin._optimizer import Optimizer
from fastlin.penalties import L1, L2, ElasticNet, Penalty


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

    One kernel does it all where the backend is compiled and everything is of our own making; else each step is a few
    calls. Both take the same steps, up to rounding.
    """
    if average is None and _ours(optimizer) and _kernel_can(objective, W, X):
        return _fused(W, X, y, sample_weight, order, batch_size, objective, optimizer)
    dW = np.empty_like(W)
    total = 0.0
    # b is no weight to be shrunk; what an optimizer of the caller's own does with it is its own affair.
    how = {"bias": objective.bias, "threads": objective.threads} if _ours(optimizer) else {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        weight = sample_weight[batch]
        weight.flags.writeable = False  # one type for Numba, as in fastlin/_check.py
        problem = Problem(W, X[batch], _goals(objective.loss, y[batch], W), weight)
        total += len(batch) * _loss_grad(objective, problem, dW)
        optimizer.step(W, dW, **how)
        if average is not None:
            average.add(W)
    return total / len(order)


def _ours(optimizer: Steps) -> TypeGuard[Optimizer]:
    """Whether its step is the one that kernels know: a subclass, or an instance, may have one of its own."""
    return getattr(optimizer.step, "__func__", None) is Optimizer.step


def _kernel_can(objective: Objective, W: Array, X: Array) -> bool:
    """Whether one kernel does a whole epoch: for penalties that it knows, rows that it can read in place."""
    return (
        ops.BACKENDS[objective.backend].compiled
        and W.shape[1] < _plan.WIDE_CLASSES
        and (objective.penalty is None or type(objective.penalty) in (L1, L2, ElasticNet))
        and walkable(X, np.uint8 if X.dtype == np.uint8 else W.dtype)
    )


def _goals(loss: str, y: Array, W: Array) -> Array:
    """What the loss is given for labels y: themselves, or rows of targets."""
    targets = ops.OPS[f"{loss}_epilogue"].targets
    return y if targets is None else _check.targets(y, len(y), W.shape[1], W.dtype, targets)


def _fused(
    W: Array,
    X: Array,
    y: Array,
    sample_weight: Array,
    order: Array,
    batch_size: int,
    objective: Objective,
    optimizer: Optimizer,
) -> float:
    """The epoch in a few kernel calls, some 10 ms each, so that Ctrl-C is answered between them."""
    loss, hyper, penalty, features, bias, backend, threads = objective
    d, c, dtype = X.shape[1], W.shape[1], W.dtype
    batch_size = min(batch_size, len(order))  # blocks of rows that are not there would be gone through too
    cut = _plan.epoch_plan(d, c, dtype.itemsize, batch_size)
    steps, blocks = -(-len(order) // batch_size), -(-batch_size // cut.block)
    course = optimizer._step_schedule(W, steps)
    kernel = ops.epoch_kernel(loss, "dense" if X.dtype == dtype else "uint8", course.rule, backend)
    room = _plan.EpochRoom(cut, c, d, dtype)
    by_class = [_run.class_major(A, d, backend) for A in (W, *course.state)]
    scaling = np.empty((0, d), dtype) if features is None else np.hstack(features).T.copy()
    order = np.ascontiguousarray(order, np.int64)
    inputs = X, _goals(loss, y, W), sample_weight, order, scaling, hyper, bias, batch_size
    terms = (0.0, 0.0) if penalty is None else penalty.terms()  # type: ignore[attr-defined]  # asked by _kernel_can
    how = course.t, course.rates, course.others, terms, course.limits, course.shrinkage
    rooms = by_class[0], tuple(by_class[1:]), *room.arrays
    team = min(cut.threads, _pool.thread_limit(threads))
    done = 0
    try:
        for first in range(0, steps * blocks, cut.call):
            done = min(first + cut.call, steps * blocks)  # said before: Ctrl-C is answered as soon as a kernel returns
            kernel(*inputs, first, done, *how, *rooms, team)
    finally:  # after Ctrl-C too: the steps that were taken count
        for A, ours in zip((W, *course.state), by_class, strict=True):
            A[...] = ours[:, : len(A)].T
        optimizer._took_steps(done // blocks)
    return float(room.losses[0] + room.penalties.sum()) / len(order)


def _loss_grad(objective: Objective, problem: Problem, dW: Array) -> float:
    """The mean loss of a batch, penalty included; its gradient is written to dW."""
    loss, hyper, penalty, features, bias, backend, threads = objective
    W, rows, d = problem.W, len(problem.y), problem.X.shape[1]
    if features is None:
        total = _run.loss_grad(loss, hyper, problem, 1.0 / rows, backend, threads, dW)
    else:
        folded = problem._replace(W=features.fold(W, bias))
        gradient = np.empty_like(folded.W)
        total = _run.loss_grad(loss, hyper, folded, 1.0 / rows, backend, threads, gradient)
        features.unfold(gradient, dW, bias)
    if penalty is None:
        return total / rows
    dW[:d] += penalty.gradient(W[:d])
    return total / rows + penalty.value(W[:d])
