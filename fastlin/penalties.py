"""Penalties R(W), with the lectures' constants: value, gradient, and proximal step.

A loss adds `penalty.value(W)` and `penalty.gradient(W)` for W without its bias row. Any object with these
two methods can be given as `reg`. Those here return a float, and new arrays of W's shape and dtype.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fastlin import _check
from fastlin._check import Array
from fastlin._laps import laps

TOGETHER = 1 << 15  # entries of W that a sum goes through at once


@runtime_checkable
class Penalty(Protocol):
    """The methods that a loss calls on its `reg`."""

    def value(self, W: Array) -> float:
        """R(W)."""

    def gradient(self, W: Array) -> Array:
        """dR/dW, of W's shape and dtype."""


@runtime_checkable
class Proximal(Protocol):
    """The method that an optimizer calls on its `prox`."""

    def shrinkage(self, step: float) -> tuple[float, float]:
        """(shrink, factor) of the proximal step: |w| falls by shrink, at most to 0; then w is multiplied by factor."""


@dataclass(frozen=True)
class L2:
    """R(W) = lam * sum(W^2): the lectures' L2, without a factor of one half. dR/dW = 2 lam W.

    lam : in [0, inf), and so that 2 lam is finite. Raises ValueError or TypeError for others.
    Lecture 3, "Regularization"; as ridge regression Hoerl & Kennard 1970.
    """

    lam: float

    def __post_init__(self) -> None:
        _check.fields(self, lam="[0, inf)")
        _check.number("2 * lam", 2.0 * self.lam, "[0, inf)")

    def terms(self) -> tuple[float, float]:
        """(l2, l1) of R(W) = l2 sum(W^2) + l1 sum(|W|)."""
        return self.lam, 0.0

    def value(self, W: Array) -> float:
        """lam * sum(W^2), summed in float64."""
        return float(self.lam * _sum(np.square, W))

    def gradient(self, W: Array) -> Array:
        """2 lam W."""
        return W * (2.0 * self.lam)

    def shrinkage(self, step: float) -> tuple[float, float]:
        """(0, 1 / (1 + 2 step lam)): see `Proximal`."""
        return 0.0, 1.0 / (1.0 + 2.0 * step * self.lam)

    def prox(self, W: Array, step: float) -> Array:
        """argmin over V of ||V - W||^2 / 2 + step * R(V): W / (1 + 2 step lam)."""
        return W / (1.0 + 2.0 * step * self.lam)


@dataclass(frozen=True)
class L1:
    """R(W) = lam * sum(|W|). The gradient is lam * sign(W): of the subgradients at 0 it takes 0.

    lam : in [0, inf). Raises ValueError or TypeError for others.
    Lecture 3, "Regularization"; as the lasso Tibshirani 1996. `minimize`, and steps with `prox`, reach zeros exactly.
    """

    lam: float

    def __post_init__(self) -> None:
        _check.fields(self, lam="[0, inf)")

    def terms(self) -> tuple[float, float]:
        """(l2, l1) of R(W) = l2 sum(W^2) + l1 sum(|W|)."""
        return 0.0, self.lam

    def value(self, W: Array) -> float:
        """lam * sum(|W|), summed in float64."""
        return float(self.lam * _sum(np.abs, W))

    def gradient(self, W: Array) -> Array:
        """lam * sign(W)."""
        return np.sign(W) * self.lam

    def shrinkage(self, step: float) -> tuple[float, float]:
        """(step lam, 1): see `Proximal`."""
        return step * self.lam, 1.0

    def prox(self, W: Array, step: float) -> Array:
        """argmin over V of ||V - W||^2 / 2 + step * R(V): shrinks each entry by step * lam, to 0 and not past it."""
        return np.sign(W) * np.maximum(np.abs(W) - step * self.lam, 0.0)


@dataclass(frozen=True)
class ElasticNet:
    """R(W) = lam * sum(beta W^2 + |W|), as the lectures write it: beta weighs the L2 part only.

    lam, beta : in [0, inf), and so that 2 lam beta is finite. Raises ValueError or TypeError for others.
    Lecture 3, "Regularization"; Zou & Hastie 2005.
    """

    lam: float
    beta: float

    def __post_init__(self) -> None:
        _check.fields(self, lam="[0, inf)", beta="[0, inf)")
        _check.number("2 * lam * beta", 2.0 * self.lam * self.beta, "[0, inf)")

    def terms(self) -> tuple[float, float]:
        """(l2, l1) of R(W) = l2 sum(W^2) + l1 sum(|W|)."""
        return self.lam * self.beta, self.lam

    def value(self, W: Array) -> float:
        """lam * sum(beta W^2 + |W|), summed in float64."""
        return L2(self.lam * self.beta).value(W) + L1(self.lam).value(W)

    def gradient(self, W: Array) -> Array:
        """lam * (2 beta W + sign(W))."""
        return L2(self.lam * self.beta).gradient(W) + L1(self.lam).gradient(W)

    def shrinkage(self, step: float) -> tuple[float, float]:
        """(step lam, 1 / (1 + 2 step lam beta)): see `Proximal`."""
        return step * self.lam, 1.0 / (1.0 + 2.0 * step * self.lam * self.beta)

    def prox(self, W: Array, step: float) -> Array:
        """argmin over V of ||V - W||^2 / 2 + step * R(V): the L1 step, then the L2 step."""
        return L2(self.lam * self.beta).prox(L1(self.lam).prox(W, step), step)


def penalty(reg: float | Penalty) -> Penalty | None:
    """The penalty that `reg` stands for: a number is the lam of `L2`, and 0 means no penalty."""
    if type(reg) is float and reg == 0.0:
        return None
    if callable(getattr(reg, "value", None)) and callable(getattr(reg, "gradient", None)):
        return _check.instance("reg", reg)  # type: ignore[return-value]  # has what Penalty asks for
    if not hasattr(reg, "__float__"):
        raise TypeError(
            f"reg must be a number in [0, inf), meaning reg * sum(W^2), or a penalty such as fl.L1(0.1); "
            f"found {_check.kind(reg)}"
        )
    lam = _check.number("reg", reg, "[0, inf)")
    _check.number("2 * reg", 2.0 * lam, "[0, inf)")
    return L2(lam) if lam else None


def terms_of(R: Penalty) -> tuple[float, float] | None:
    """(l2, l1) of a penalty that kernels know; None of one of the caller's making, a class derived from ours too."""
    return R.terms() if type(R) in (L1, L2, ElasticNet) else None  # type: ignore[attr-defined]


def _sum(function: Any, W: Array) -> float:
    """The sum of function(W) in float64, some entries after the other: they stay in the cache."""
    flat = np.ravel(W, order="K")
    return sum(
        float(function(flat[first : first + TOGETHER], dtype=np.float64).sum())
        for first in range(0, flat.size, TOGETHER)
    )


# ---- Regularisation that is not a term of the loss --------------------------------------------------------


@np.errstate(all="ignore")  # NaN and Inf follow IEEE's rules
def max_norm(W: Array, limit: float, *, bias: bool = False) -> Array:
    """W with the columns (classes) whose Euclidean norm exceeds `limit` scaled down to it, a new array.

    The projection onto {W : every ||W[:, j]|| <= limit}, to be taken after each step: `W[...] = fl.max_norm(W, 3.0)`.

    Parameters
    ----------
    W : (d, c) float32 or float64, or (d + 1, c) with `bias`; not changed.
    limit : in (0, inf).
    bias : leave the last row of W, b, as it is, and out of the norms.

    Returns
    -------
    An array of W's shape and dtype; norms are computed in float64.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    Notes
    -----
    Lecture "Loss functions and optimization": "max norm regularization"; Srebro et al. 2005.

    >>> max_norm(np.array([[3.0, 0.3], [4.0, 0.4]]), 1.0)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    limit = _check.number("limit", limit, "(0, inf)")
    W = np.array(_check.weights(W))
    if _check.flag("bias", bias) and not len(W):
        raise ValueError(f"with bias=True the last row of W is b, but W has shape {W.shape}, without rows")
    weights = W[:-1] if bias else W
    norms = np.sqrt(np.square(weights, dtype=np.float64).sum(axis=0))
    weights *= np.where(norms > limit, limit / np.where(norms > limit, norms, 1.0), 1.0)
    return W


@np.errstate(all="ignore")
def dropout(X: Array, p: float, *, seed: int = 0) -> Array:
    """X with every entry zero with probability p, the others divided by 1 - p, a new array: for training only.

    The mean of the scores stays the same, so that predictions use X without dropout ("inverted" scaling).

    Parameters
    ----------
    X : real numbers of any shape, not changed.
    p : in [0, 1), the probability of a zero.
    seed : of `numpy.random.default_rng(seed)`, at least 0; pass another one for each batch.

    Returns
    -------
    An array of X's shape, of its dtype if that is a float, else float64.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    Notes
    -----
    The lectures name it among the regularisations. For a linear model with the squared error it is, on average, an L2
    penalty with a weight of its own for each feature; Srivastava et al. 2014, Wager et al. 2013.

    >>> sorted(set(dropout(np.ones(1000), 0.5).tolist()))
    [0.0, 2.0]
    """
    p = _check.number("p", p, "[0, 1)")
    X = _check.array("X", X)
    if X.dtype.kind not in "iubf":
        raise TypeError(f"X must hold real numbers; found dtype {X.dtype}")
    kept = X.dtype.type(1.0 - p) if X.dtype.kind == "f" else 1.0 - p
    if kept == 0:
        raise ValueError(f"p is {p!r}, which the {X.dtype} of X cannot tell from 1; pass a smaller p")
    rng = np.random.default_rng(_check.count("seed", seed, 0))
    found = np.empty(X.shape, X.dtype if X.dtype.kind == "f" else np.float64)
    rows, dropped = np.atleast_1d(X), np.atleast_1d(found)
    for some in laps(len(rows), 48 * math.prod(rows.shape[1:])):
        dropped[some] = (rng.random(rows[some].shape) >= p) * (rows[some] / kept)
    return found
