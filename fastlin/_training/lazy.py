"""Mini-batch steps over sparse rows that touch the batch's columns alone: a step costs what its entries cost.

Where no row of the batch has an entry in a column, the loss has no gradient there. SGD and AdaGrad then leave its
weights as they are, but for a penalty, weight decay and prox, which do the same to all weights: |w| <- f (a |w| - s)+
at each step. So many steps are one, and a column catches up when a batch has it again, or at the end of the epoch:

    |w_t| = P_t (|w_0| / P_0 - (Q_t - Q_0))+,    P_t = P_(t-1) a f,    Q_t = Q_(t-1) + s f / P_t.

The steps are those of the dense form, up to rounding. A batch becomes a small problem, of the columns that it has, for
the kernels of losses and updates. (Lazy updates: Langford, Li & Zhang 2009; Duchi & Singer 2009.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastlin import _run, ops
from fastlin._check import Array, Inputs, read_only
from fastlin._csr import Csr
from fastlin._laps import laps
from fastlin._objective import Objective
from fastlin._optimizer import Optimizer
from fastlin.kernels.records import EpochSteps, clip_scale
from fastlin.penalties import L2

SPARSER = 2  # columns of W for each entry of a batch, from which on its columns alone are updated
LEAST_FACTOR = 1e-100  # of all steps of an epoch together
EIGHTHS = 3  # a batch's columns are counted up to an eighth, so that batches much alike have one workspace


class Decay(NamedTuple):
    """P and Q (steps + 1,) of the weights that no batch touches."""

    P: Array
    Q: Array

    @property
    def moves(self) -> bool:
        """Whether there is any."""
        return bool(self.P[-1] != 1.0 or self.Q[-1] != 0.0)

    def of(self, W: Array, since: Array, now: int) -> Array:
        """Rows of W after the steps since[i] ... now - 1."""
        if not self.moves:
            return W
        factor = (self.P[now] / self.P[since])[:, None]
        if self.Q[-1] == 0.0:
            scaled: Array = W * factor.astype(W.dtype)
            return scaled
        size = np.abs(W, dtype=np.float64) * factor
        size -= (self.P[now] * (self.Q[now] - self.Q[since]))[:, None]
        found: Array = np.copysign(np.maximum(size, 0.0), W).astype(W.dtype)
        return found


def _suits(objective: Objective, inputs: Inputs, order: Array, batch_size: int, optimizer: Optimizer) -> bool:
    """Whether the steps of an epoch over these rows are better taken so, and can be: by sizes and options alone."""
    X, penalty = inputs.X, objective.penalty
    if not isinstance(X, Csr) or optimizer.rule not in ("sgd_update", "adagrad_update"):
        return False
    if not (penalty is None or type(penalty) is L2):
        return False
    plain = penalty is None and not optimizer.hyper["weight_decay"]
    if not plain and (optimizer.rule == "adagrad_update" or optimizer._prox is not None or optimizer._limits):
        return False
    return X.shape[1] * len(X) >= SPARSER * min(batch_size, len(order)) * X.nnz


def run_epoch(
    objective: Objective,
    inputs: Inputs,
    order: Array,
    batch_size: int,
    optimizer: Optimizer,
    step_losses: list[float] | None,
) -> float | None:
    """What `run_epoch` of epoch.py does; None, and nothing is done, where the dense form is faster or the only one."""
    if not _suits(objective, inputs, order, batch_size, optimizer):
        return None
    count = -(-len(order) // batch_size)
    l2 = 0.0 if objective.penalty is None else objective.penalty.terms()[0]  # type: ignore[attr-defined]
    steps, slot = optimizer._epoch_steps(inputs.W, count, (l2, 0.0))
    decay = _decay(steps, optimizer)
    if decay is None:
        return None
    state = slot.views()
    epoch = _Epoch(objective, inputs, steps, decay, optimizer.rule, tuple(state))
    total = 0.0
    for step in range(count):
        batch = order[step * batch_size : (step + 1) * batch_size]
        value = epoch.step(step, batch)
        total += len(batch) * value
        if step_losses is not None:
            step_losses.append(value)
    epoch.finish(count)
    # Copies have changed: whatever was raised, W and the optimizer are as they were before the epoch.
    for A, own in zip((inputs.W, *state), (epoch.W, *epoch.state), strict=True):
        A[...] = own
    optimizer._took_steps(count, slot)
    return total / len(order)


def _decay(steps: EpochSteps, optimizer: Optimizer) -> Decay | None:
    """What each step does to all weights; None where a factor is not above 0, or all together are nearly 0."""
    count = len(steps.lr)
    factor, shrink = np.ones(count), np.zeros(count)
    if optimizer.rule == "sgd_update":
        factor -= steps.lr * (2.0 * steps.penalty[0] + optimizer.hyper["weight_decay"])
    if len(steps.shrinkage):
        shrink = steps.shrinkage[:, 0] * steps.shrinkage[:, 1]
        factor *= steps.shrinkage[:, 1]
    P = np.concatenate([[1.0], np.cumprod(factor)])
    if not (factor > 0).all() or not P.min() > LEAST_FACTOR or not np.isfinite(P).all():
        return None
    Q = np.concatenate([[0.0], np.cumsum(shrink / P[1:])])
    return Decay(P, Q) if np.isfinite(Q[-1]) else None


class _Epoch:
    """Copies of the weights and the state, and since when each column has not been touched."""

    def __init__(
        self,
        objective: Objective,
        inputs: Inputs,
        steps: EpochSteps,
        decay: Decay,
        rule: str,
        state: tuple[Array, ...],
    ) -> None:
        self.W, self.state = np.array(inputs.W, order="C"), tuple(np.array(A, order="C") for A in state)
        self._objective, self._inputs = objective._replace(penalty=None), inputs
        self._steps, self._decay = steps, decay
        self._d = inputs.X.shape[1]
        self._since = np.zeros(self._d, np.int64)
        self._has = np.zeros(self._d, bool)  # which columns a batch has
        self._place = np.empty(self._d, np.int64)  # of a column in the small problem
        self._squares = float(np.square(self.W[: self._d], dtype=np.float64).sum()) if steps.penalty[0] else 0.0
        backend, dtype = objective.backend, _run.FLOATS[self.W.itemsize]
        self._kernels = {
            name: ops.kernel(name, backend, dtype)
            for name in ("penalty_stage", "sum_squares", "clip_stage", "prox_stage")
        }
        self._update = ops.kernel(rule, backend, dtype)

    def step(self, step: int, batch: Array) -> float:
        """The loss of a batch before its step, penalty included."""
        X, columns = self._small(self._inputs.X[batch])
        few = len(columns)
        W = self._rows(self.W, columns, X.shape[1])
        W[:few] = self._decay.of(W[:few], self._since[columns], step)
        state = tuple(self._rows(A, columns, X.shape[1]) for A in self.state)
        dW = np.empty_like(W)
        y, sample_weight = self._inputs.y[batch], read_only(self._inputs.sample_weight[batch])
        total = _run.loss_grad(self._objective, Inputs(W, X, y, sample_weight), 1.0 / len(batch), dW)
        value: float = total / len(batch) + self._steps.penalty[0] * self._squares
        before = float(self._kernels["sum_squares"](W[: X.shape[1]].reshape(-1))) if self._steps.penalty[0] else 0.0
        self._take(step, W, dW, state, X.shape[1])
        if self._steps.penalty[0]:
            factor = self._decay.P[step + 1] / self._decay.P[step]
            after = float(self._kernels["sum_squares"](W[: X.shape[1]].reshape(-1)))
            self._squares = max(0.0, self._squares - before) * factor * factor + after
        for A, own in zip((self.W, *self.state), (W, *state), strict=True):
            A[columns] = own[:few]
            A[self._d :] = own[X.shape[1] :]
        self._since[columns] = step + 1
        return value

    def finish(self, count: int) -> None:
        """All columns catch up with the last step."""
        for some in laps(self._d if self._decay.moves else 0, 32 * self.W.shape[1]):
            self.W[some] = self._decay.of(self.W[some], self._since[some], count)

    def _small(self, X: Csr) -> tuple[Csr, Array]:
        """The rows of a batch with the columns that they have alone, and the numbers of these."""
        data, indices, indptr, d = X.arrays
        inside = (indices >= 0) & (indices < d)
        self._has[indices[inside]] = True
        columns = np.flatnonzero(self._has)  # a look at d bytes; sorting the entries takes longer
        self._has[columns] = False
        self._place[columns] = np.arange(len(columns))
        room = 1 << max(0, len(columns).bit_length() - EIGHTHS)
        small = np.full(len(indices), -1, np.int32)
        small[inside] = self._place[indices[inside]]
        return Csr(data, small, indptr, -(-len(columns) // room) * room), columns

    def _rows(self, A: Array, columns: Array, d: int) -> Array:
        """Their weights, zeros up to d, and b if there is one."""
        found = np.zeros((d + len(A) - self._d, A.shape[1]), A.dtype)
        found[: len(columns)] = A[columns]
        found[d:] = A[self._d :]
        return found

    def _take(self, step: int, W: Array, dW: Array, state: tuple[Array, ...], d: int) -> None:
        """The step of these weights, as in kernels/drivers.py."""
        steps = self._steps
        w, g, *flat = (A.reshape(-1) for A in (W, dW, *state))
        own = slice(0, d * W.shape[1])  # all but b
        if steps.penalty[0]:
            self._kernels["penalty_stage"](g[None, own], w[None, own], steps.penalty[0], 0.0)
        scale = 1.0
        if steps.clip[1] < np.inf:
            scale = clip_scale(np.sqrt(self._kernels["sum_squares"](g)), steps.clip[1])
        if scale != 1.0 or steps.clip[0] < np.inf:
            clipped = np.empty_like(g)
            self._kernels["clip_stage"](g, clipped, scale, steps.clip[0])
            g = clipped
        self._update(w, g, *flat, float(steps.lr[step]), *steps.others)
        if len(steps.shrinkage):
            self._kernels["prox_stage"](w[own], *steps.shrinkage[step].tolist())
