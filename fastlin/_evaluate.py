"""A loss with its gradient, of arrays or over parts: where every public loss ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, Protocol, overload

from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Csr, Features
from fastlin._labels import of_rows, without
from fastlin._objective import REDUCTIONS, Objective
from fastlin.parts import Parts, are_parts, exceeds_memory
from fastlin.penalties import Penalty

P = ParamSpec("P")


class LossFunction(Protocol[P]):
    """A public loss as type checkers see it: its value is a float, or with reduction="none" an array (n,)."""

    __name__: str

    @overload
    def __call__(  # type: ignore[overload-overlap]  # "none" is a str too
        self,
        W: ArrayLike,
        X: Features | Parts,
        y: ArrayLike | None = None,
        reg: float | Penalty = 0.0,
        *,
        reduction: Literal["none"],
        **words: Any,
    ) -> tuple[Array, Array]: ...

    @overload
    def __call__(self, *arguments: P.args, **words: P.kwargs) -> tuple[float, Array]: ...


def loss_function(function: Callable[P, tuple[Any, Array]]) -> LossFunction[P]:
    """The function itself."""
    return function  # type: ignore[return-value]  # what depends on `reduction` cannot be said of it otherwise


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
        from fastlin._parts import over_parts  # milliseconds that `import fastlin` need not cost

        return over_parts.evaluate(objective, W, X, x_scale, x_shift, reduction, out, ignore_index)
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
