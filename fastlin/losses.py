"""Losses with their gradients, scores and predictions: docs, conventions, defaults. The loops are in kernels/.

Conventions, once: X is (n, d), W is (d, c) and scores are X @ W. With bias=True W is (d + 1, c) and its last
row is b: the bias trick without a copy of X. The data loss is the mean over rows, summed over classes; it is
summed in float64 and returned as a Python float. The penalty is added as it is, and never touches b.

`out` is written once, at the end: after an error or Ctrl-C it is untouched, or holds the whole gradient. Ctrl-C is
answered within 100 ms, but not while Numba compiles, in a pass over a W of 50 million numbers or more, or in a penalty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _pool, _run, _step, ops
from fastlin._affine import affine
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Features
from fastlin._evaluate import evaluate, loss_function
from fastlin._laps import laps
from fastlin._objective import classes, largest_few, make_objective, with_defaults
from fastlin.parts import Parts
from fastlin.penalties import Penalty

HINGES = {  # (variant, squared): the row of the table
    ("weston_watkins", False): "svm",
    ("weston_watkins", True): "squared_svm",
    ("crammer_singer", False): "crammer_singer_svm",
    ("one_vs_rest", False): "one_vs_rest_svm",
    ("one_vs_rest", True): "squared_one_vs_rest_svm",
}


@loss_function
def softmax_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Softmax cross-entropy and its gradient.

    L = 1/n sum_i sample_weight_i * -sum_j t_ij log p_ij + R(W),  p_i = softmax(X[i] @ W),
    t_ij = (1 - label_smoothing) [j = y_i] + label_smoothing / c, or y_ij in the place of [j = y_i].

    Parameters
    ----------
    W : (d, c) float32 or float64, or (d + 1, c) with `bias`. Any order and strides.
    X : (n, d) of W's dtype, a narrower float, or integers. Any strides, read-only, memory-mapped or byte-swapped.
        Floats and uint8 are read in place; other integers are converted some rows at a time.
        Or sparse rows: SciPy's csr_array or csr_matrix, or any object with data, indices, indptr and shape in that
        form; entries in any order, those of one place are added up. Its float32 or float64 numbers and int32 or int64
        indices are read in place, others are copied once; a C-ordered W is read in place then.
        Or `fl.Parts`, which bring y and sample_weight with them: both are left out then.
    y : (n,) integers in [0, c); or (n, c) floats in [0, 1], the t_ij before smoothing: the probabilities of the classes
        of each row, as of a teacher or of mixed rows. They need not sum to 1.
    reg : lam of the penalty lam * sum(W^2), or a penalty such as `fl.L1(1e-4)`.
    bias : the last row of W is b, added to the scores and left out of the penalty.
    sample_weight : (n,), multiplies each row's loss; the mean still divides by n.
    x_scale, x_shift : a number or (d,); the features are X * x_scale + x_shift, without a copy of X. With uint8
        images: x_scale = 1 / (255 * std), x_shift = -mean / std.
    label_smoothing : in [0, 1], the share of the target spread over all classes.
    ignore_index : rows with this label, such as -100, have no loss, and the mean does not count them.
    reduction : "mean" over the rows or their "sum". The penalty is added once either way. "none" returns the rows'
        losses (n,) in float64, times their sample_weight, and the gradient of their sum; reg must be 0 then. It reads X
        twice, keeps all scores, and takes some microseconds for each row.
    out : array like W, overwritten with the gradient at the end: untouched, or whole, after an error or Ctrl-C.
    backend : "naive", "numpy", "numba" or "cython"; None takes the default (see `fl.use_backend`).
    threads : the most threads to use; the result is the same bits for any number.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    At W = 0 the loss is log(c). Lecture 3 "Softmax classifier"; label smoothing: Szegedy et al. 2016.

    >>> loss, dW = softmax_loss(np.zeros((4, 10)), np.ones((3, 4)), [0, 1, 2])
    >>> round(loss, 4)  # log(10)
    2.3026
    """
    objective = make_objective("softmax", (label_smoothing,), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out, ignore_index)


@loss_function
def svm_loss(
    W: ArrayLike,
    X: Features | Parts,
    y: ArrayLike | None = None,
    reg: float | Penalty = 0.0,
    *,
    margin: float = 1.0,
    squared: bool = False,
    variant: str = "weston_watkins",
    bias: bool = False,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    out: Array | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    """Multiclass SVM loss (Weston-Watkins: summed over the other classes) and its gradient.

    L = 1/n sum_i sample_weight_i * sum_{j != y_i} max(0, s_ij - s_iy + margin) + R(W),  s_i = X[i] @ W;
    with `squared` each max is squared.

    Parameters
    ----------
    margin : in [0, inf), by how much the correct class must lead.
    squared : the squared hinge; not for "crammer_singer".
    variant : "weston_watkins", the lectures'; "crammer_singer", where the row's loss is the largest of the terms
        instead of their sum; "one_vs_rest", sum_j max(0, margin - t_ij s_ij) with t_ij = 1 for j = y_i, else -1. Then
        y may also be 0 or 1 for every score, as in `logistic_loss`: (n,) for a W with one column, a binary SVM.
    W, X, y, reg, bias, sample_weight, x_scale, x_shift, ignore_index, reduction, out, backend, threads : as in
        `softmax_loss`.

    Returns
    -------
    loss : float; with reduction="none" an array (n,).
    dW : array like W; `out` if that was given.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; nothing has been written then.

    Notes
    -----
    At W = 0 the loss is c - 1. At a kink (a margin met exactly) the gradient takes 0 from that class.
    torch's multi_margin_loss also divides by c. Lecture 3 "Multiclass SVM loss"; Weston & Watkins 1999; Crammer &
    Singer 2001. scikit-learn's LinearSVC minimises the squared one_vs_rest.

    >>> svm_loss(np.zeros((4, 10)), np.ones((3, 4)), [0, 1, 2])[0]  # c - 1
    9.0
    """
    if type(squared) is not bool:  # a call of the check takes longer than this
        squared = _check.flag("squared", squared)
    try:
        loss = HINGES[variant, squared]
    except (KeyError, TypeError):
        _check.choice("variant", variant, [name for name, squares in HINGES if not squares])
        raise ValueError(f"variant {variant!r} has no squared form; pass squared=False or another variant") from None
    objective = make_objective(loss, (margin,), reg, bias, backend, threads)
    return evaluate(objective, W, (X, y, sample_weight), x_scale, x_shift, reduction, out, ignore_index)


@np.errstate(all="ignore")
def scores(
    W: ArrayLike,
    X: Features,
    *,
    bias: bool = False,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> Array:
    """The scores X @ W (n, c), or X @ W[:-1] + W[-1] with `bias`: the lectures' f(x, W) = Wx + b for every row.

    Parameters
    ----------
    W, X, bias, x_scale, x_shift, backend, threads : as in `softmax_loss`, but no `fl.Parts`: results of fits predict
        those.

    Returns
    -------
    A new array (n, c) of W's dtype.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> scores(np.array([[1.0, 2.0], [0.5, -0.5]]), np.array([[3.0]]), bias=True)
    array([[3.5, 5.5]])
    """
    backend, threads = ops.resolve(backend), _pool.thread_limit(threads)
    W = _check.weights(W)
    rows = _check.check_X(features(X), W, bias := _check.flag("bias", bias))
    scale_shift = affine(x_scale, x_shift, rows, W)
    if scale_shift is not None:
        W, bias = scale_shift.fold(W, bias), True
    return _run.scores(W, rows, backend, threads).T


def predict(
    W: ArrayLike,
    X: Features,
    *,
    k: int | None = None,
    bias: bool = False,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> Array:
    """The class with the largest score for each row of X, as integers (n,); the first of equals.

    With one column of W the lectures' binary rule: 1 where the score is >= 0, else 0.

    Parameters
    ----------
    W, X, bias, x_scale, x_shift, backend, threads : as in `scores`.
    k : ask for the k classes (n, k) with the largest scores instead, the largest first; at most as many as W's columns.

    Returns
    -------
    A new array of integers (n,), or (n, k).

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> predict(np.array([[1.0, 3.0, 2.0]]), np.array([[1.0], [-1.0]]), k=2)
    array([[1, 2],
           [0, 2]])
    """
    S = scores(W, X, bias=bias, x_scale=x_scale, x_shift=x_shift, backend=backend, threads=threads)
    return classes(S) if k is None else largest_few(S, k)


def warmup(backend: str | None = None, *, loss: str | None = None) -> None:
    """Compile and load the losses, scores and optimizer steps of a backend now, instead of at the first calls.

    Numba compiles what is asked for when it is asked for; a server may want to pay before its first request. Every type
    of X and W is covered; a first epoch of `train` and a first search compile a little more.

    backend : as in `softmax_loss`.  loss : this one alone, such as "softmax"; None for all.
    Raises ValueError or TypeError for a backend or a loss that there is not, ImportError for a backend that is missing.
    """
    if loss is not None:
        _check.choice("loss", loss, ops.losses())
    backend = ops.resolve(backend)
    y = np.zeros(2, np.int64)
    for dtype in ops.DTYPES:
        W, X = np.zeros((2, 2), dtype), np.zeros((2, 2), dtype)
        stored = [row.example(X) for row in ops.STORAGES.values() if dtype in row.W_dtypes]
        for rows in stored:
            softmax(scores(W, rows, backend=backend), backend=backend)
        for name in ops.losses() if loss is None else [loss]:
            objective = make_objective(name, with_defaults(name, {}, "warmup"), 0.5, False, backend, None)
            for rows in stored:
                objective.evaluate(W, rows, y, None, None, None)
        with_b = np.zeros((3, 2), dtype, order="F")  # its penalty is that of rows which lie apart
        objective.add_penalty(with_b[:2], with_b.copy(order="F")[:2])
    _step.warmup(backend)


@np.errstate(all="ignore")
def softmax(S: ArrayLike, *, backend: str | None = None) -> Array:
    """Probabilities from scores: exp(S) / sum(exp(S)) over the last axis, shifted so that nothing overflows.

    Parameters
    ----------
    S : (..., c) float32 or float64, not changed; integers become float64. There is at least one class.
    backend : as in `softmax_loss`.

    Returns
    -------
    A new C-ordered array of S's shape and dtype, whose rows sum to 1.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> softmax(np.array([-2.85, 0.86, 0.28])).round(3)  # the lectures' example, to the last digit
    array([0.015, 0.631, 0.353])
    """
    S = _check.array("S", S)
    if S.ndim == 0 or S.shape[-1] == 0:
        raise ValueError(f"S has shape {S.shape}; expected (..., classes) with at least one class")
    if S.dtype.kind not in "iub" and S.dtype not in (np.float32, np.float64):
        raise TypeError(f"S has dtype {S.dtype}; expected float32, float64 or integers")
    P = np.empty(S.shape, np.float32 if S.dtype == np.float32 else np.float64)
    exp = ops.kernel("exp", ops.resolve(backend), P.dtype.name)
    rows, probabilities = S.reshape(-1, S.shape[-1]), P.reshape(-1, S.shape[-1])
    for some in laps(len(rows), 8 * P.itemsize * S.shape[-1]):
        own = rows[some].astype(P.dtype, copy=False)
        shifted = np.ascontiguousarray(own - own.max(axis=-1, keepdims=True))
        exp(shifted.reshape(-1), probabilities[some].reshape(-1))
        probabilities[some] /= probabilities[some].sum(axis=-1, keepdims=True)
    return P
