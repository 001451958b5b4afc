"""A loss with its gradient, of arrays or over parts: where every public loss ends."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastlin import _over_parts
from fastlin._check import Array
from fastlin._objective import Objective
from fastlin.parts import are_parts


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
    if are_parts(X, y, sample_weight):
        return _over_parts.evaluate(objective, W, X, x_scale, x_shift, reduction, out, ignore_index)
    return objective.evaluate(W, X, y, sample_weight, x_scale, x_shift, reduction, out)
