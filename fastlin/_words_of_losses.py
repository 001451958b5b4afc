"""The keyword arguments of losses, for type checkers: with reduction="none" they return an array, else a float."""

from __future__ import annotations

from typing import TypedDict

from numpy.typing import ArrayLike

from fastlin._check import Array


class OfLoss(TypedDict, total=False):
    """Of every loss, but for `reduction`."""

    bias: bool
    sample_weight: ArrayLike | None
    x_scale: ArrayLike | None
    x_shift: ArrayLike | None
    out: Array | None
    backend: str | None
    threads: int | None


class OfSoftmax(OfLoss, total=False):
    """Of softmax_loss."""

    label_smoothing: float
    ignore_index: int | None


class OfSVM(OfLoss, total=False):
    """Of svm_loss."""

    margin: float
    squared: bool
    variant: str
    ignore_index: int | None


class OfHuber(OfLoss, total=False):
    """Of huber_loss."""

    delta: float
