"""What kernels/native/quick_check.pyx does, for an installation without a C compiler; fastlin/_check.py takes one."""

from __future__ import annotations

from typing import Any

import numpy as np


def quick_labels(W: Any, X: Any, y: Any, bias: bool, out: Any) -> None:
    """Nothing is known to be plain: in Python a quick look would take as long as the checks."""


def same_layout(W: Any, dW: Any, shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> bool:
    """Whether W and dW are plain arrays of this shape and type, both contiguous in this order, and no others, aligned
    and apart, and W writeable: a step with these needs no further look.
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
