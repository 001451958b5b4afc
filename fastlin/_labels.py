"""What callers say about labels, made into what losses know: valid labels, weights of rows, and columns of W."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastlin import _check, ops
from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._objective import start_weights

ClassWeight = str | Mapping[int, float] | ArrayLike


class Labelled(NamedTuple):
    """What a fit begins with."""

    W: Array
    y: Any  # every label names a class, or they are still to be refused
    sample_weight: Any
    rows: Array | None  # the numbers of those that are not ignored; None for all of them


@dataclass(frozen=True)
class LabelOptions:
    """The arguments of `train` and `minimize` that are about labels, as they were given."""

    classes: int | None = None
    class_weight: ClassWeight | None = None
    ignore_index: int | None = None

    def apply(
        self,
        loss: str,
        W: ArrayLike | None,
        X: Array | Csr,
        y: Any,
        bias: bool,
        sample_weight: Any,
        dtype: DTypeLike | None = None,
    ) -> Labelled:
        """The weights to start from, and y and sample_weight with these options in them."""
        rows = None
        if self.ignore_index is not None:
            y, rows = without(y, len(X), self.ignore_index)
            if not rows.size:
                raise ValueError(f"all labels in y are ignore_index={self.ignore_index}; there must be another one")
        start = start_weights(loss, W, X, y, bias, dtype, self.classes)
        if self.class_weight is not None:
            sample_weight = self._times_class_weight(loss, start, X, y, sample_weight, rows)
        return Labelled(start, y, sample_weight, rows)

    def _times_class_weight(
        self, loss: str, W: Array, X: Array | Csr, y: Any, sample_weight: Any, rows: Array | None
    ) -> Array:
        """sample_weight, each multiplied by the weight of the row's class."""
        n, c = len(X), W.shape[1]
        found = _check.array("y", y)
        numbers = ops.LOSSES[loss].targets is not None and c == 1
        if found.ndim != 1 or found.dtype.kind not in "iub" or numbers:
            raise ValueError(
                f"class_weight needs labels (n,), integers that each name a column of W; found y of shape "
                f"{found.shape} and dtype {found.dtype}, and W with {c} columns. Pass sample_weight instead"
            )
        labels = _check.labels(found, n, c)
        weight = _check.row_weights(sample_weight, n, np.dtype(np.float64))
        some = slice(None) if rows is None else rows
        return weight * class_weights(self.class_weight, labels[some], weight[some], c)[labels]


def without(y: Any, n: int, ignore_index: Any) -> tuple[Array, Array]:
    """y with the label 0 in the place of `ignore_index`, and the numbers of the rows that keep theirs."""
    try:
        if isinstance(ignore_index, (bool, np.bool_)):
            raise TypeError
        ignored = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer, such as -100; found {_check.kind(ignore_index)}") from None
    found = _check.array("y", y)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"ignore_index needs integer labels in y, one for each of the {n} rows of X; found shape {found.shape} and "
            f"dtype {found.dtype}. Rows of targets are left out by sample_weight"
        )
    keeps = np.not_equal(found, ignored)
    return np.where(keeps, found, found.dtype.type(0)), np.flatnonzero(keeps)


def of_rows(rows: Array, n: int, sample_weight: Any, mean: bool = True) -> Array:
    """sample_weight, 0 for all but these of n rows; with `mean` such that the mean over n rows is that over these."""
    if mean and not rows.size:
        raise ValueError("all labels in y are ignore_index; the mean over no rows is undefined: pass others too")
    given, found = _check.row_weights(sample_weight, n, np.dtype(np.float64)), np.zeros(n)
    found[rows] = given[rows] * (n / len(rows)) if mean else given[rows]
    return found


def class_weights(given: Any, labels: Array, weight: Array, c: int) -> Array:
    """The weight (c,) of each class: "balanced", of a dict or an array."""
    if isinstance(given, str):
        _check.choice("class_weight", given, ("balanced",))
        total = np.bincount(labels, weight, c)
        present = total > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(present, total.sum() / (np.count_nonzero(present) * total), 1.0)
    if isinstance(given, Mapping):
        found = np.ones(c)
        for label, value in given.items():
            found[_class("a key of class_weight", label, c)] = _check.number(
                f"class_weight[{_check.shown(label)}]", value, "[0, inf)"
            )
        return found
    found = _check.array("class_weight", given)
    if found.dtype.kind not in "iubf":
        raise TypeError(
            f"class_weight must be 'balanced', a dict from labels to numbers, or numbers ({c},); "
            f"found {_check.kind(given)}"
        )
    if found.shape != (c,):
        raise ValueError(f"class_weight has shape {found.shape}; expected ({c},), a number for each column of W")
    wrong = np.flatnonzero(~((found >= 0) & (found < np.inf)))
    if wrong.size:
        raise ValueError(f"class_weight[{wrong[0]}] must be in [0, inf); found {found[wrong[0]]}")
    return found.astype(np.float64)


def _class(name: str, label: Any, c: int) -> int:
    try:
        found = _check.count(name, label, 0)
    except (TypeError, ValueError):
        found = c
    if found >= c:
        raise ValueError(f"{name} must be a label, an integer in [0, {c}); found {_check.shown(label)}")
    return found
