"""The functions of kernels/native/quick_check.pyx in Python, for an installation without a C compiler."""

from __future__ import annotations

from typing import Any

import numpy as np


def quick_labels(W: Any, X: Any, y: Any, bias: bool, out: Any) -> None:
    """Always None, which means the full checks: in Python quick checks would take as long."""


def first_outside(indices: Any, d: int) -> int:
    """The position of the first index that is not in [0, d), or -1. indices : int32 or int64, contiguous."""
    if not indices.size or (indices.min() >= 0 and indices.max() < d):
        return -1
    return int(np.argmax((indices < 0) | (indices >= d)))


def same_layout(W: Any, dW: Any, shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> bool:
    """Whether W and dW are arrays of this shape and type and no subclasses, both contiguous in this order, aligned and
    without overlap, and W is writeable. A step with these needs no other check.
    """
    if not (type(W) is type(dW) is np.ndarray and W.shape == dW.shape == shape and W.dtype == dW.dtype == dtype):
        return False
    flags, others = W.flags, dW.flags
    return bool(
        (flags.c_contiguous and others.c_contiguous if order == "C" else flags.fnc and others.fnc)
        and flags.behaved  # aligned and writeable
        and others.aligned
        and ((W.base is dW.base is None and W is not dW) or not np.may_share_memory(W, dW))  # each owns its memory
    )
