"""Losses over parts: what is computed of each part, by whoever reads it, and the sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._affine import Affine, affine
from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._labels import without
from fastlin._objective import REDUCTIONS, Objective, order_beside
from fastlin._parts.joined import joined
from fastlin._parts.reduction import Partial, finished, partial
from fastlin._solvers.problem import Point, Problem, Product, point
from fastlin.parts import Part, Parts

if TYPE_CHECKING:
    from fastlin._parts.survey import Survey

SAMPLE_BYTES = 128 << 20  # of a sample of rows in float64, from which solvers learn the columns' scales
SPARSE_ENTRY_BYTES = 16  # a number and its column


@dataclass(frozen=True)
class Reweighted:
    """A part with the weights that labels ask for: 0 for ignored ones, and what their class is multiplied by."""

    ignore_index: int | None
    of_class: Array | None  # (c,)
    factor: float = 1.0  # of all weights

    def __call__(self, part: Part) -> Part:
        return self.counted(part)[0]

    def counted(self, part: Part) -> tuple[Part, int]:
        """The part, and how many of its rows are not ignored."""
        X, y, sample_weight = labelled(part)
        weight, count = _check.row_weights(sample_weight, len(X), np.dtype(np.float64)), len(X)
        if self.ignore_index is not None:
            y, rows = without(y, len(X), self.ignore_index)
            kept, count = np.zeros(len(X)), len(rows)
            kept[rows] = weight[rows]
            weight = kept
        if self.of_class is not None:
            weight = weight * self.of_class[_check.labels(y, len(X), len(self.of_class))]
        return Part(X, y, weight * self.factor), count


@dataclass(frozen=True)
class _Loss:
    """The sums of a loss over the rows of a part; ignored rows are not counted."""

    objective: Objective
    W: Array
    scale_shift: Affine | None
    ignore_index: int | None

    def __call__(self, part: Part) -> Partial:
        objective = self.objective.for_targets(labelled(part).y)
        if self.ignore_index is None:
            return partial(objective, self.W, *part, self.scale_shift)
        part, count = Reweighted(self.ignore_index, None).counted(part)
        return partial(objective, self.W, *part, self.scale_shift)._replace(rows=count)


@dataclass(frozen=True)
class _Product:
    """The product of the Hessian of the sum of losses at x with v, in the place of a gradient."""

    objective: Objective
    W: Array
    scale_shift: Affine | None
    x: Array
    v: Array

    def __call__(self, part: Part) -> Partial:
        X, y, sample_weight = labelled(part)
        inputs = _check.inputs(self.objective.loss, self.W, X, y, self.objective.bias, sample_weight)
        rows = len(X)
        if not rows:
            return Partial(0.0, np.zeros_like(self.W), 0.0, 0)
        Hv = Problem(self.objective, inputs, self.scale_shift).product(self.x)(self.v)
        return Partial(0.0, rows * Hv.reshape(self.W.shape), 0.0, rows)


@dataclass(frozen=True)
class _Few:
    """A copy of one of so many rows of a part."""

    step: int

    def __call__(self, part: Part) -> Part:
        X, *others = labelled(part)
        few = (None if A is None else np.array(np.asarray(A)[:: self.step]) for A in others)
        # Rows without a gap would be sent to another process with all entries around them.
        return Part(joined([X[:: self.step]]) if isinstance(X, Csr) else np.array(X[:: self.step]), *few)


@dataclass(frozen=True)
class _Moments:
    """Sums over the rows of sparse X (3, d), in the place of a gradient: entries, numbers and their squares."""

    def __call__(self, part: Part) -> Partial:
        n, sums = len(part.X), np.array(part.X.column_means())
        return Partial(0.0, n * sums, 0.0, n)


def labelled(part: Part) -> Part:
    """The part, which has y."""
    if part.y is None:
        raise ValueError("it has X alone; a loss needs (X, y): give y too")
    return part


def sum_of(parts: Parts, task: Callable[[Part], Partial]) -> Partial:
    """The sum over the parts of what the task makes of each."""
    return parts._sum(task)


def alone(objective: Objective, parts: Parts) -> Objective:
    """What a worker is sent: no penalty, which may be the caller's own code, and one thread unless told."""
    threads = 1 if objective.threads is None and parts.executor is not None else objective.threads
    return objective._replace(penalty=None, threads=threads)


def sums(objective: Objective, parts: Parts, W: Array, scale_shift: Affine | None, ignore_index: int | None) -> Partial:
    """The sums of the loss over all rows."""
    return sum_of(parts, _Loss(alone(objective, parts), W, scale_shift, ignore_index))


def evaluate(
    objective: Objective,
    W: ArrayLike,
    parts: Parts,
    x_scale: ArrayLike | None,
    x_shift: ArrayLike | None,
    reduction: str,
    out: Array | None,
    ignore_index: int | None,
) -> tuple[float, Array]:
    """The loss over all parts, penalty included, and its gradient: see `fastlin.softmax_loss`."""
    _check.choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        raise ValueError("reduction='none' is for arrays; over parts ask for the losses of one part after the other")
    own = _check.weights(W)
    if objective.needs_float64:
        objective.refuse_float32(own)
    if out is not None:
        _check.out_like(out, own)
    d = len(own) - objective.bias
    if d < 0:
        raise ValueError(f"with bias=True the last row of W is b; found W of shape {own.shape}")
    W = np.array(own, _check.native(own))  # that nobody changes while workers read it
    found = sums(objective, parts, W, affine(x_scale, x_shift, np.empty((0, d)), W), ignore_index)
    if reduction == "mean" and not found.rows:
        raise ValueError("the parts have 0 rows that count; the mean over no rows is undefined")
    value, dW = finished(objective, W, found, found.rows if reduction == "mean" else 1)
    if out is None:
        return value, dW
    np.copyto(out, dW)
    return value, out


# ---- Problems of solvers -----------------------------------------------------------------------------------------


class PartsProblem(Problem):
    """A `Problem` whose rows are read part by part.

    seen : what a first look has found.  divisor : of the sums.
    """

    in_memory = False

    def __init__(
        self, objective: Objective, parts: Parts, W: Array, scale_shift: Affine | None, seen: Survey, divisor: float
    ) -> None:
        self.objective, self.parts, self.scale_shift, self._divisor = objective, parts, scale_shift, divisor
        self._seen = seen
        self._begin(W, seen.n, seen.columns, order_beside(seen.X))
        self._samples: dict[int, Problem] = {}

    @property
    def sparse(self) -> bool:
        return self._seen.sparse

    @property
    def entries(self) -> int:
        return self._seen.entries

    def of(self, objective: Objective, x: Array) -> Point:
        self.passes += 1
        self.latest = x
        W = self.weights(x)
        total = self._whole(sums(objective, self.parts, W, self.scale_shift, None))
        value, dW = finished(objective, W, total, self._divisor)
        return point(x, value, dW.ravel(), self.means)

    def product(self, x: Array) -> Product:
        W, objective = self.weights(x), alone(self.objective, self.parts)

        def times(v: Array) -> Array:
            self.passes += 1
            total = self._whole(sum_of(self.parts, _Product(objective, W, self.scale_shift, x, v)))
            return finished(self.objective, self.weights(v), total, self._divisor)[1].ravel().astype(np.float64)

        return times

    def sample(self, most: int) -> Problem:
        n, _ = self.shape
        row_bytes = (SPARSE_ENTRY_BYTES if self.sparse else 8) * max(1, self.entries // max(1, n))
        step = max(1, n // max(1, min(most, SAMPLE_BYTES // row_bytes)))
        if step not in self._samples:
            found: dict[int, Part] = {}
            self.parts._each(_Few(step), found.__setitem__)
            X, y, sample_weight = (_of_all([found[i][k] for i in range(len(found))]) for k in range(3))
            objective = self.objective
            inputs = _check.inputs(objective.loss, self.W, X, y, objective.bias, sample_weight)
            self._samples[step] = Problem(objective, inputs, self.scale_shift)
        return self._samples[step]

    def column_moments(self) -> tuple[Array, Array, Array]:
        total = self._whole(sum_of(self.parts, _Moments()))
        share, mean, squares = total.dW / total.rows
        return self._moments_of(share, mean, squares)

    def _whole(self, found: Partial) -> Partial:
        """The sums, of as many rows as there were at the first look."""
        if found.rows != self.shape[0]:
            raise ValueError(
                f"the parts had {self.shape[0]} rows at first and have {found.rows} now; each part must give the same "
                f"rows every time that it is read"
            )
        return found


def _of_all(arrays: list[Any]) -> Any:
    """What parts give one after the other; None where they give none."""
    given = [A for A in arrays if A is not None]
    if len(given) not in (0, len(arrays)):
        raise ValueError("some parts have sample_weight and others have none; give it with all of them")
    return joined(given) if given else None
