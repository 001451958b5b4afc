"""Curvature: Newton's step, the Hessian it needs, and quasi-Newton methods for full batches (lecture 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _lbfgs
from fastlin._affine import affine
from fastlin._check import Array
from fastlin._extras import need
from fastlin._objective import make_objective, start_weights, with_defaults
from fastlin.gradcheck import gradient_of
from fastlin.penalties import Penalty
from fastlin.train import TrainResult

OURS = "L-BFGS-B"
METHODS = (OURS, "BFGS", "CG")  # the others are SciPy's


def minimize(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "softmax",
    method: str = "L-BFGS-B",
    reg: float | Penalty = 0.0,
    max_iter: int = 200,
    tol: float = 1e-6,
    bias: bool = True,
    W: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> TrainResult:
    """Fit a linear classifier or a regression to all rows at once, by a quasi-Newton method on our loss and gradient.

    Parameters
    ----------
    X : (n, d) float64 or integers; with float32 the loss has too few digits for a line search near the minimum.
    y, loss, reg, bias, W, sample_weight, x_scale, x_shift, backend, threads, hyper : as in `train`. L-BFGS wants a
        smooth loss: "softmax", "logistic", "squared_svm" and `reg` a number; at the kinks of others it may stop early.
    method : "L-BFGS-B" keeps a few past gradients; its steps have the same bits for any number of threads. SciPy's
        "BFGS" keeps a matrix of W.size^2 numbers, SciPy's "CG" the last direction; both use BLAS and its threads.
    max_iter : the largest number of iterations, each of which takes one or a few passes over X.
    tol : stop where no entry of the gradient is larger. 0 goes on as long as the loss falls.

    Returns
    -------
    TrainResult; .history["loss"] has the start and the loss after each iteration, penalty included.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.
    ImportError : SciPy is missing for "BFGS" or "CG": `fastlin[scipy]`.

    Notes
    -----
    Lecture 3: L-BFGS "usually works very well in full batch, deterministic mode" and "does not transfer very well to
    mini-batch setting". Liu & Nocedal 1989.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> minimize(X, [0, 0, 1, 1], reg=0.1).predict(X)
    array([0, 0, 1, 1])
    """
    _check.choice("method", method, METHODS)
    max_iter, tol = _check.count("max_iter", max_iter), _check.number("tol", tol, "[0, inf)")
    objective = make_objective(loss, with_defaults(loss, hyper, "minimize"), reg, bias, backend, threads)
    optimize = None if method == OURS else need("scipy.optimize", "scipy", f"fastlin.minimize with method={method!r}")
    X = _check.array("X", X, 2)
    start = start_weights(loss, W, X, y, bias)
    inputs = objective.inputs(start, X, y, sample_weight)
    scale_shift = affine(x_scale, x_shift, inputs.X, start)

    def f(x: Array) -> tuple[float, Array]:
        here = inputs._replace(W=x.reshape(start.shape).astype(start.dtype))
        value, dW = objective.at(here, scale_shift, inputs.X.shape[0], None)
        return value, dW.ravel().astype(np.float64)

    losses: list[float] = []
    x = start.astype(np.float64).ravel()
    if optimize is None or not x.size:  # SciPy's take no empty arrays
        x = _lbfgs.minimize(f, x, max_iter, tol, losses.append)
    else:
        losses.append(f(x)[0])

        def note(intermediate_result: Any) -> None:  # SciPy goes by the argument's name
            losses.append(float(intermediate_result.fun))

        options = {"maxiter": max_iter, "gtol": tol}
        with np.errstate(all="ignore"):  # as in our own methods: Inf and NaN follow IEEE's rules without a warning
            x = optimize.minimize(f, x, jac=True, method=method, callback=note, options=options).x
    best = np.array(x.reshape(start.shape), start.dtype, order="F")
    return TrainResult(best, bias, {"loss": losses}, x_scale, x_shift, loss_name=loss)


def numerical_hessian(f: Callable[[Array], tuple[float, Array]], W: ArrayLike, h: float = 1e-5) -> Array:
    """The matrix of second derivatives (W.size, W.size) by central differences of f's gradient; exact for quadratics.

    f : W -> (loss, dW), such as `lambda W: fl.softmax_loss(W, X, y)`. Called 2 * W.size times.
    W : float array of any shape, not changed.
    h : the step, finite and not zero.

    The larger its condition number, `np.linalg.cond(H)`, the slower gradient descent is. Where the gradient is zero,
    eigenvalues of both signs mean a saddle point (lecture 3, "What if loss changes quickly in one direction ...").

    >>> numerical_hessian(lambda W: (W[0] ** 2 - W[1] ** 2, np.array([2 * W[0], -2 * W[1]])), np.zeros(2)).round(6)
    array([[ 2.,  0.],
           [ 0., -2.]])
    """
    _check.function("f", f, "of W that returns (loss, dW)")
    h = _check.step_size("h", h)
    W = _own(W)
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

    f, W, h : as in `numerical_hessian`. A quadratic is solved by one step. The Hessian has W.size^2 entries and
    solving with it takes W.size^3 steps: for a few hundred weights at most.

    Raises numpy.linalg.LinAlgError where the Hessian is singular: add a penalty.

    >>> newton_step(lambda W: (((W - 3) ** 2).sum(), 2 * (W - 3)), np.array([10.0, -10.0])).round(6)
    array([3., 3.])
    """
    H = numerical_hessian(f, W, h)
    W = _own(W)
    step: Array = np.linalg.solve(H, gradient_of(f, W).ravel())
    return W - step.reshape(W.shape)


def _own(W: ArrayLike) -> Array:
    """A float64 copy of W, of any shape."""
    found = _check.array("W", W)
    if found.dtype not in (np.float32, np.float64):
        raise TypeError(f"W has dtype {found.dtype}; expected float32 or float64: np.asarray(W, np.float64)")
    return np.array(found, np.float64, order="C")
