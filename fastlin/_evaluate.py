"""A loss with its gradient, of arrays or over parts: where every public loss ends."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array
from fastlin._check_csr import features
from fastlin._csr import Csr
from fastlin._labels import of_rows, without
from fastlin._objective import REDUCTIONS, Objective
from fastlin.parts import Parts, are_parts, exceeds_memory


def evaluate(
    objective: Objective,
    W: ArrayLike,
    data: tuple[Any, Any, Any],
    x_scale: ArrayLike | None,
    x_shift: ArrayLike | None,
    reduction: str,
    out: Array | None,
    ignore_index: int | None = None,
) -> tuple[Any, Array]:
    """The value at W, penalty included, and its gradient: see `fastlin.softmax_loss`.

    data : X, y and sample_weight, as they were given.
    """
    X, y, sample_weight = data
    if exceeds_memory(X) and reduction != "none":
        X, y, sample_weight = Parts.from_arrays(X, y, sample_weight), None, None
    if are_parts(X, y, sample_weight):
        from fastlin import _over_parts  # milliseconds that `import fastlin` need not cost

        return _over_parts.evaluate(objective, W, X, x_scale, x_shift, reduction, out, ignore_index)
    objective = objective.for_targets(y)
    if ignore_index is not None:
        X = features(X)
        y, sample_weight = _without_ignored(X, y, sample_weight, ignore_index, reduction)
    return objective.evaluate(W, X, y, sample_weight, x_scale, x_shift, reduction, out)


def _without_ignored(
    X: Array | Csr, y: ArrayLike | None, sample_weight: ArrayLike | None, ignore_index: int, reduction: str
) -> tuple[Array, Array]:
    """Valid labels, and weights of 0 for the rows that are left out."""
    _check.choice("reduction", reduction, REDUCTIONS)
    labels, rows = without(y, len(X), ignore_index)
    return labels, of_rows(rows, len(X), sample_weight, mean=reduction == "mean")
