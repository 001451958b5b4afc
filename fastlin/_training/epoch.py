"""One epoch: every row once, in batches. What is checked is checked before; nothing here looks at it again."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

import numpy as np

from fastlin import _check, _plan, _pool, _run, ops
from fastlin._affine import Affine
from fastlin._check import Array, Inputs, read_only
from fastlin._objective import Objective
from fastlin._optimizer import Optimizer
from fastlin._rows import Storage
from fastlin._training import lazy
from fastlin.kernels.records import EpochData, EpochWeights
from fastlin.penalties import terms_of


class Steps(Protocol):
    """What an epoch asks of an optimizer."""

    def step(self, W: Array, dW: Array) -> None:
        """Change W in place."""


class Average:
    """A mean of the weights after each step, in float64.

    decay None: of all of them (Polyak & Juditsky 1992). Else an exponential moving average, which starts at the
    first: A <- decay A + (1 - decay) W.
    """

    def __init__(self, decay: float | None) -> None:
        self.decay = decay
        self.t = 0
        self.mean: Array | None = None

    def rate(self, t: int) -> float:
        """The part of its way to W that the mean goes after step t, from 1."""
        if t == 1:
            return 1.0
        return 1.0 / t if self.decay is None else 1.0 - self.decay

    def before(self, W: Array) -> Array:
        """The mean before the next step, zeros if that is the first."""
        return np.zeros(W.shape, order="F") if self.mean is None else self.mean

    def add(self, W: Array) -> None:
        """Take in the weights after one more step."""
        self.mean = self.before(W)
        self.t += 1
        self.mean += (W - self.mean) * self.rate(self.t)

    def took_steps(self, count: int, mean: Array) -> None:
        """Counts steps that an epoch kernel has taken, and keeps their mean."""
        self.t, self.mean = self.t + count, mean


@np.errstate(all="ignore")  # a rate that is too high ends in Inf and NaN, which follow IEEE's rules
def run_epoch(
    objective: Objective,
    inputs: Inputs,
    scale_shift: Affine | None,
    order: Array,
    batch_size: int,
    optimizer: Steps,
    average: Average | None = None,
    step_losses: list[float] | None = None,
) -> float:
    """One step for each batch; the mean over the rows of the loss that their batch had, penalty included.

    inputs : their W, (d, c) or (d + 1, c) with bias, is overwritten; y and sample_weight are of all rows of X.
    scale_shift : the map of the columns of X, if there is one.  order : some of the rows, batch after batch.
    step_losses : gets the loss of each batch before its step, penalty included.

    One kernel does it all where the optimizer is of our own making; else each step is a few calls. Both take the same
    steps, up to rounding.
    """
    storage = ops.storage_of(inputs.X, inputs.W.dtype)
    if storage is not None and storage.gathers and _ours(optimizer):
        how = objective, inputs, storage, scale_shift, order, batch_size, optimizer
        return _fused(*how, average=average, step_losses=step_losses)
    if average is None and scale_shift is None and _ours(optimizer):
        found = lazy.run_epoch(objective, inputs, order, batch_size, optimizer, step_losses)
        if found is not None:
            return found
    W, X, y, sample_weight, _ = inputs
    dW = np.empty_like(W)
    total = 0.0
    # b is no weight to be shrunk; what an optimizer of the caller's own does with it is its own affair.
    named = (
        {"bias": objective.bias, "backend": objective.backend, "threads": objective.threads} if _ours(optimizer) else {}
    )
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        few = Inputs(W, X[batch], y[batch], read_only(sample_weight[batch]))
        value, _ = objective.at(few, scale_shift, len(batch), dW)
        total += len(batch) * value
        if step_losses is not None:
            step_losses.append(float(value))
        optimizer.step(W, dW, **named)
        if average is not None:
            average.add(W)
    return total / len(order)


def _ours(optimizer: Steps) -> TypeGuard[Optimizer]:
    """Whether its step is the one that kernels know: a subclass, or an instance, may have one of its own."""
    return getattr(optimizer.step, "__func__", None) is Optimizer.step


def _fused(
    objective: Objective,
    inputs: Inputs,
    storage: Storage,
    scale_shift: Affine | None,
    order: Array,
    batch_size: int,
    optimizer: Optimizer,
    average: Average | None,
    step_losses: list[float] | None,
) -> float:
    """The epoch in a few kernel calls, some 10 ms each, so that Ctrl-C is answered between them.

    A penalty of the caller's own is asked before each batch, and the batch's gradient is added to what it returns.
    """
    W, X, y, sample_weight, _ = inputs
    loss, hyper, penalty, bias, backend, threads, _ = objective
    d, c, dtype = X.shape[1], W.shape[1], W.dtype
    order = np.ascontiguousarray(order, np.int64)
    batch_size = min(batch_size, len(order))  # blocks of rows that are not there would be gone through too
    cut = _plan.epoch_plan(d, c, dtype.itemsize, batch_size, ops.BACKENDS[backend].compiled)
    count, blocks = -(-len(order) // batch_size), -(-batch_size // cut.block)
    terms = (0.0, 0.0) if penalty is None else terms_of(penalty)
    own = terms is None
    steps, slot = optimizer._epoch_steps(W, count, terms or (0.0, 0.0))
    if average is not None:
        steps = steps._replace(averaging=np.array([average.rate(average.t + i) for i in range(1, count + 1)]))
    state = slot.views()
    kernel = ops.epoch_kernel(loss, storage, optimizer.rule, backend)
    columns = np.empty((0, d), dtype) if scale_shift is None else np.hstack(scale_shift).T.copy()
    data = EpochData(X, y, sample_weight, order, columns, hyper, bias, batch_size, dW_begun=own)
    own_W, *own_state = (_run.kernel_weights(A, d, backend) for A in (W, *state))
    mean = np.empty((0, d + 1)) if average is None else _run.kernel_weights(average.before(W), d, backend)
    weights = EpochWeights(own_W, _run.empty_weights(c, d, dtype, backend), tuple(own_state), mean)
    workspace = _plan.epoch_workspace(cut, count, c, d, dtype)
    team = min(cut.threads, _pool.thread_limit(threads))
    at_once = 1 if own else count
    own_penalties = np.zeros(count)
    for step in range(0, count, at_once):
        if own:
            own_penalties[step] = _begin_at_gradient(penalty, weights)
        last = (step + at_once) * blocks
        for first in range(step * blocks, last, cut.call):
            kernel(data, steps, weights, workspace, first, min(first + cut.call, last), team)
    # The kernel has changed copies: whatever it raises, an error while it compiles and Ctrl-C too, W and the optimizer
    # are as they were before the epoch.
    for A, changed in zip((W, *state), (own_W, *own_state), strict=True):
        A[...] = changed[:, : len(A)].T
    optimizer._took_steps(count, slot)
    if average is not None:
        average.took_steps(count, mean[:, : len(W)].T.copy(order="F"))
    rows = np.minimum(batch_size, len(order) - batch_size * np.arange(count))
    values = workspace.losses + workspace.penalties.sum(axis=1) + rows * own_penalties
    if step_losses is not None:
        step_losses.extend((values / rows).tolist())
    return float(values.sum()) / len(order)


def _begin_at_gradient(penalty: Any, weights: EpochWeights) -> float:
    """The penalty's value; its gradient is written to dW."""
    W, dW, *_ = weights
    d = W.shape[1] - 1
    seen = W[:, :d].T  # as the penalty's methods are promised it, (d, c)
    value = _check.penalty_value(penalty.value(seen))
    dW[:, :d] = _check.penalty_gradient(penalty.gradient(seen), seen).T
    dW[:, d] = 0
    return value
