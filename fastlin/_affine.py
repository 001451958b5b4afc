"""Features X * x_scale + x_shift without a copy of X: scale and shift go into W and b.

(X * scale + shift) @ W + b = X @ (scale * W) + (b + shift @ W), so the kernels read X as it is stored, for example as
uint8. The gradient for the changed W and b is converted back in the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._check import Array


class Affine(NamedTuple):
    """scale and shift, (d, 1) each, in the dtype of W."""

    scale: Array
    shift: Array

    def fold(self, W: Array, bias: bool) -> Array:
        """W' (d + 1, c), which gives the scores from the unscaled X: its last row is b' = b + shift @ W."""
        d = len(self.scale)
        folded = np.empty((d + 1, W.shape[1]), _check.native(W), order="F")
        folded[:d] = W[:d]
        np.einsum("k,kj->j", self.shift[:, 0], folded[:d], out=folded[d])  # BLAS has threads, and a fork may hang
        folded[:d] *= self.scale
        if bias:
            folded[d] += W[d]
        return folded

    def unfold(self, folded: Array, dW: Array, bias: bool) -> None:
        """Write the gradient for W to dW, given that for W': dL/dW = scale dL/dW' + shift dL/db'."""
        d = len(self.scale)
        np.multiply(self.scale, folded[:d], out=dW[:d])
        dW[:d] += self.shift * folded[d]
        if bias:
            dW[d] = folded[d]


def affine(x_scale: Any, x_shift: Any, X: Any, W: Array) -> Affine | None:
    """The checked map of the columns of X, in the dtype of W, or None if neither is given."""
    if x_scale is None and x_shift is None:
        return None
    d, dtype = X.shape[1], _check.native(W)
    scale = _column("x_scale", 1.0 if x_scale is None else x_scale, d, dtype)
    return Affine(scale, _column("x_shift", 0.0 if x_shift is None else x_shift, d, dtype))


def _column(name: str, value: Any, d: int, dtype: np.dtype[Any]) -> Array:
    found = _check.array(name, value)
    if found.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers; found dtype {found.dtype}")
    if found.shape not in ((), (d,)):
        raise ValueError(f"{name} has shape {found.shape}; expected one number or ({d},), one for each feature")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite; found {found.reshape(-1)[~np.isfinite(found.reshape(-1))][0]}")
    column: Array = np.broadcast_to(_check.converted(name, found, dtype).reshape(-1, 1), (d, 1))
    return column
