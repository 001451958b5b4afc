"""Losses of scores with a target each: regression, and one class against the rest. The loops are in kernels/.

Conventions are those of `fastlin.losses`. Every score s_ij = (X[i] @ W)_j has a target t_ij, and the loss of a row is
the sum over its scores, as it is over classes there. y gives the targets: numbers (n,) for a W with one column,
(n, c) for one with c; or, for c > 1, integer labels (n,), which mean t_ij = 1 where j = y_i, else 0.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from fastlin._check import Array
from fastlin._csr import Features
from fastlin._evaluate import evaluate, loss_function
from fastlin._objective import make_objective
from fastlin.parts import Parts
from fastlin.penalties import Penalty


@loss_function
def logistic_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Logistic (sigmoid) loss and its gradient: binary cross-entropy, or one class against the rest.

    L = 1/n sum_i sample_weight_i * sum_j (log(1 + e^s_ij) - t_ij s_ij) + R(W),  dL/ds = sigma(s) - t,
    which is -t log sigma(s) - (1 - t) log(1 - sigma(s)) with sigma(s) = 1 / (1 + e^-s).

    Parameters
    ----------
    y : targets in [0, 1], (n,) if W has one column, else (n, c); or integer labels (n,) in [0, c), if c > 1.
    W, X, reg, bias, sample_weight, x_scale, x_shift, reduction, out, backend, threads : as in `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    At W = 0 the loss is c log(2). With one column it is that of `softmax_loss` for two classes with the scores 0 and s.
    Lecture "Linear Classification, Loss functions": "Logistic", and -log(1 / (1 + e^-wx)) decomposed, where t = 1.

    >>> loss, dW = logistic_loss([[0.0], [0.0]], [[1.0, 1.0]] * 4, [0, 1, 1, 1])
    >>> round(loss, 4), dW.ravel().tolist()  # log(2)
    (0.6931, [-0.25, -0.25])
    """
    objective = make_objective("logistic", (), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out)


@loss_function
def sigmoid_squared_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Squared error of sigmoid units and its gradient: the delta rule with a sigmoid.

    L = 1/n sum_i sample_weight_i * sum_j (t_ij - sigma(s_ij))^2 + R(W),  dL/ds = -2 (t - sigma) sigma (1 - sigma).

    Parameters
    ----------
    y : targets (n,) if W has one column, else (n, c); or integer labels (n,) in [0, c), if c > 1.
    W, X, reg, bias, sample_weight, x_scale, x_shift, reduction, out, backend, threads : as in `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    Unlike `logistic_loss` it is not convex, and its slope vanishes where sigma is 0 or 1, right or wrong.
    Lecture "Linear Classification, Loss functions", "Adding a Non-Linear Function": the sigmoid perceptron's update
    w_j <- w_j + 2 eta sum_i delta_i sigma_i (1 - sigma_i) x_ij is W - eta dW with reduction="sum".

    >>> sigmoid_squared_loss([[0.0], [0.0]], [[1.0, 1.0]] * 4, [0, 1, 1, 1])[0]
    0.25
    """
    objective = make_objective("sigmoid_squared", (), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out)


@loss_function
def squared_error_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Squared error (L2) and its gradient: linear regression.

    L = 1/n sum_i sample_weight_i * sum_j (t_ij - s_ij)^2 + R(W),  dL/ds = -2 (t - s): no factor of one half.

    Parameters
    ----------
    y : targets (n,) if W has one column, else (n, c); or integer labels (n,) in [0, c), if c > 1.
    W, X, reg, bias, sample_weight, x_scale, x_shift, reduction, out, backend, threads : as in `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    Lecture "Linear Classification, Loss functions": "L2", and "Derivation of Update Rule", whose
    w_j <- w_j + 2 eta sum_k delta_k x_kj, delta = y - w x, is W - eta dW with reduction="sum".

    >>> squared_error_loss([[1.0], [1.0]], [[1.0, 2.0]], [5.0])
    (4.0, array([[-4.],
           [-8.]]))
    """
    objective = make_objective("squared_error", (), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out)


@loss_function
def absolute_error_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Absolute error (L1) and its gradient: median regression.

    L = 1/n sum_i sample_weight_i * sum_j |t_ij - s_ij| + R(W),  dL/ds = sign(s - t), 0 where s = t.

    Parameters
    ----------
    y : targets (n,) if W has one column, else (n, c); or integer labels (n,) in [0, c), if c > 1.
    W, X, reg, bias, sample_weight, x_scale, x_shift, reduction, out, backend, threads : as in `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    An outlier pulls no harder than any other row. Lecture "Linear Classification, Loss functions": "L1".

    >>> absolute_error_loss([[1.0], [1.0]], [[1.0, 2.0]], [5.0])
    (2.0, array([[-1.],
           [-2.]]))
    """
    objective = make_objective("absolute_error", (), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out)


@loss_function
def huber_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    delta: float = 1.0,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Huber's loss and its gradient: squared for small residuals, absolute for large ones.

    L = 1/n sum_i sample_weight_i * sum_j h(t_ij - s_ij) + R(W),
    h(r) = r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2);  dL/ds = s - t, cut off at -delta and delta.

    Parameters
    ----------
    y : targets (n,) if W has one column, else (n, c); or integer labels (n,) in [0, c), if c > 1.
    delta : in (0, inf), in the units of y.
    W, X, reg, bias, sample_weight, x_scale, x_shift, reduction, out, backend, threads : as in `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    An outlier pulls no harder than `delta`, and the slope has no jump: the loss lies between `absolute_error_loss` and
    half of `squared_error_loss`. Huber 1964; torch's HuberLoss. scikit-learn's HuberRegressor also fits the scale of y.

    >>> huber_loss([[1.0], [1.0]], [[1.0, 2.0]], [5.0], delta=0.5)
    (0.875, array([[-0.5],
           [-1. ]]))
    """
    objective = make_objective("huber", (delta,), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out)
