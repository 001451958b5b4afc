"""A loss with its gradient, of arrays or over parts: where every public loss ends."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastlin import _over_parts
from fastlin._check import Array
from fastlin._objective import Objective
from fastlin.parts import Parts


def evaluate(
    objective: Objective,
    W: ArrayLike,
    X: ArrayLike | Parts,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    x_scale: ArrayLike | None,
    x_shift: ArrayLike | None,
    reduction: str,
    out: Array | None,
    ignore_index: int | None = None,
) -> tuple[Any, Array]:
    """The value at W, penalty included, and its gradient: see `fastlin.softmax_loss`."""
    if isinstance(X, Parts):
        _over_parts.refuse_beside(y=y, sample_weight=sample_weight)
        return _over_parts.evaluate(objective, W, X, x_scale, x_shift, reduction, out, ignore_index)
    if y is None:
        raise TypeError("y must be given beside an array X; only fl.Parts bring their own")
    return objective.evaluate(W, X, y, sample_weight, x_scale, x_shift, reduction, out)
