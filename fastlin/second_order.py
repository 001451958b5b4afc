"""Curvature: Newton's step, and the Hessian it needs, by differences (lecture 3). `fastlin.minimize` fits by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array
from fastlin.gradcheck import gradient_of, own


def numerical_hessian(f: Callable[[Array], tuple[float, Array]], W: ArrayLike, h: float = 1e-5) -> Array:
    """The matrix of second derivatives (W.size, W.size) by central differences of f's gradient; exact for quadratics.

    Parameters
    ----------
    f : W -> (loss, dW), such as `lambda W: fl.softmax_loss(W, X, y)`. Called 2 * W.size times.
    W : float32 or float64 of any shape, not changed; f is given it in float64.
    h : the step, finite and not zero.

    Returns
    -------
    A new float64 array (W.size, W.size), symmetric.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument, and for an h that changes an entry of W by nothing.

    Notes
    -----
    The larger its condition number, `np.linalg.cond(H)`, the slower gradient descent is. Where the gradient is zero,
    eigenvalues of both signs mean a saddle point (lecture 3, "What if loss changes quickly in one direction ...").

    >>> numerical_hessian(lambda W: (W[0] ** 2 - W[1] ** 2, np.array([2 * W[0], -2 * W[1]])), np.zeros(2)).round(6)
    array([[ 2.,  0.],
           [ 0., -2.]])
    """
    _check.function("f", f, "of W that returns (loss, dW)")
    h = _check.step_size("h", h)
    W = own(W, np.float64)
    H = np.empty((W.size, W.size))
    for i in range(W.size):
        above, below = W.copy(), W.copy()
        above.flat[i] += h
        below.flat[i] -= h
        step = above.flat[i] - below.flat[i]
        if not step:
            raise ValueError(f"h is {h!r}, too small to change entry {i} of W, which is {W.flat[i]!r}; pass more")
        H[i] = (gradient_of(f, above) - gradient_of(f, below)).ravel() / step
    symmetric: Array = (H + H.T) / 2
    return symmetric


def newton_step(f: Callable[[Array], tuple[float, Array]], W: ArrayLike, h: float = 1e-5) -> Array:
    """W - H^-1 dL/dW, a new array: the minimum of the quadratic that touches f at W (lecture 3, "Newton").

    Parameters
    ----------
    f, W, h : as in `numerical_hessian`. A quadratic is solved by one step. The Hessian has W.size^2 entries and
        solving with it takes some W.size^3 operations: for a few hundred weights at most.

    Returns
    -------
    A new float64 array of W's shape.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.
    numpy.linalg.LinAlgError : the Hessian is singular; add a penalty.

    >>> newton_step(lambda W: (((W - 3) ** 2).sum(), 2 * (W - 3)), np.array([10.0, -10.0])).round(6)
    array([3., 3.])
    """
    H = numerical_hessian(f, W, h)
    W = own(W, np.float64)
    step: Array = np.linalg.solve(H, gradient_of(f, W).ravel())
    return W - step.reshape(W.shape)
